"""Many steps in one call of compiled code: what torch's optimizers make of the plain modules, however they are cut."""

from dataclasses import replace
from itertools import cycle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.ensemble.native.build import library_or_error
from harness.errors import BuildError
from harness.spec.trial import Trial
from harness.training import state as state_module
from harness.training.compiled_steps import CompiledSteps, Pace
from harness.training.loop import train
from harness.training.results import outcomes
from harness.training.state import LOSS_BUFFER_STEPS, init_state
from tests.support.alone import assert_evaluates_alike, assert_means_of_batches, train_alone
from tests.support.images import small_images
from tests.support.stopping import train_until

if isinstance(library_or_error("double"), BuildError):
    pytest.skip("there is no native library", allow_module_level=True)

CPU = torch.device("cpu")
DATA = small_images(197, 101, 33, dtype="float32")  # no number of examples fills whole vectors
BASE = Trial(
    dataset="small",
    model="mlp-10-6",
    lr=0.05,
    batch_size=30,
    steps=9,
    norm_groups=2,
    eval_every=4,
    device="cpu",
    precision="float64",
)
KINDS = {
    "none": {},
    "batch": {"norm": "batch", "model": "mlp-16x2", "batch_size": 32},
    "batch, cumulative": {"norm": "batch", "norm_momentum": "cumulative", "batch_size": 33},
    "full batch": {"norm": "batch", "batch_size": 101, "label_noise": 0.1},
    "images": {"model": "cnn-4-6", "norm": "batch", "steps": 5},
    "images, group": {"model": "cnn-4-6", "norm": "group", "steps": 5},
    "layer": {"norm": "layer", "activation": "tanh"},
    "rms": {"norm": "rms", "activation": "sigmoid"},
    "one example": {"batch_size": 1},
}
RULES = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "adam": {"optimizer": "adam", "lr": 0.01},
    "adamw": {"optimizer": "adamw", "lr": 0.01},
    "warm-up and cosine": {"momentum": 0.5, "warmup_steps": 3, "schedule": "cosine"},
    "adamw, in steps": {"optimizer": "adamw", "lr": 0.01, "schedule": "step", "decay_every": 2, "decay_factor": 0.5},
}


def start(trials, data=DATA):
    state = init_state(trials, data, CPU, {})
    assert CompiledSteps.of(state, 0) is not None
    return state


def finish(state, done=0):
    for _ in train(state, done):
        pass
    return state


def of_every_model(trial, count=4):
    """Trials that differ in all that each model has of its own."""
    return [
        replace(
            trial,
            seed=i // 2,
            lr=trial.lr * (1 + i),
            momentum=trial.momentum * (1 - 0.1 * i) if trial.momentum else 0.0,
            weight_decay=[0.0, 1e-3, 0.1, 0.3][i % 4],
            decay_norms=i % 3 > 0,
            max_grad_norm=[None, 0.1, 1.0, 1e9][i % 4],
            optimizer_args=[{}, {"betas": (0.8, 0.9)}, {}, {"eps": 1e-3}][i % 4] if "adam" in trial.optimizer else {},
            label_noise=max(trial.label_noise, 0.2 * (i % 2)),
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_steps_do_what_torch_does_with_values_of_each_model(kind, rule):
    trials = of_every_model(replace(BASE, **RULES[rule], **KINDS[kind]))
    state = finish(start(trials))
    fused = {**state.ensemble.weights, **state.ensemble.buffers}
    for i, trial in enumerate(trials):
        model, losses = train_alone(trial, DATA)
        # AdamW divides a gradient that is zero but for rounding, that of a bias before a batch norm, by its own size.
        free = 1e-6 if trial.optimizer.startswith("adam") else 1e-10
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(
                fused[name][i].detach(), tensor, rtol=1e-8, atol=free, msg=lambda text, name=name: f"{name}: {text}"
            )
        assert_means_of_batches(outcomes(state)[i].curves["batch.loss"], losses)


@pytest.mark.parametrize("statistics", ["running", "batch", "recalibrated"])
@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_they_are_evaluated_as_torch_evaluates_them(norm, statistics):
    trials = of_every_model(replace(BASE, norm=norm, eval_statistics=statistics))
    state = finish(start(trials))
    if norm == "batch" and statistics != "running":  # what else they would be is tests/ensemble/test_bn_statistics.py's
        return
    double = replace(DATA, x={split: x.astype("float64") for split, x in DATA.x.items()})
    for i, (trial, outcome) in enumerate(zip(trials, outcomes(state), strict=True)):
        model, _ = train_alone(trial, DATA)
        assert_evaluates_alike(outcome.curves, model, double, state.data["train"][1][i])


def tensors_of(state):
    return {name: tensor.detach().clone() for name, tensor in state.tensors.items()}


def assert_same_bits(found, expected):
    for name, tensor in expected.items():
        assert torch.equal(found[name].nan_to_num(7e30), tensor.nan_to_num(7e30)), name


CUTS = {"one by one": [1], "in threes": [3], "as long as can be": [64], "in any way": [2, 5, 1, 4, 17]}
DIVERGING = [0.1, 1e30, 0.2, 1e12, 0.3]  # some of them at once, some later
LONG = replace(BASE, batch_size=5, precision="float32", steps=90, eval_every=70)  # longer than the ring of losses


def cut_calls(patched, lengths):
    """From now on, calls take so many steps, one after the other, where nothing else ends them."""
    ahead = cycle(lengths)
    patched.setattr(Pace, "follow", lambda pace, done, seconds: setattr(pace, "steps", next(ahead)))


def by_single_steps(patched, trials):
    patched.setattr(CompiledSteps, "of", lambda state, first: None)
    return finish(init_state(trials, DATA, CPU, {}))


@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.9},
        {"norm": "batch", "norm_momentum": "cumulative", "label_noise": 0.1},
        {"optimizer": "adamw", "model": "cnn-4-6", "batch_size": 101},
    ],
)
def test_no_bit_depends_on_how_steps_are_cut_into_calls_or_on_threads(monkeypatch, options):
    trials = [replace(LONG, **options, seed=seed, lr=lr) for seed, lr in enumerate(DIVERGING)]
    expected = tensors_of(finish(start(trials)))
    for lengths in CUTS.values():
        with monkeypatch.context() as patched:
            cut_calls(patched, lengths)
            assert_same_bits(tensors_of(finish(start(trials))), expected)
    threads = torch.get_num_threads()
    try:
        for number in (2, 3, 7):
            torch.set_num_threads(number)
            assert_same_bits(tensors_of(finish(start(trials))), expected)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_model_that_diverges_within_a_call_fails_where_single_steps_say(monkeypatch, norm):
    trials = [replace(LONG, norm=norm, seed=seed, lr=lr) for seed, lr in enumerate(DIVERGING)]
    state = start(trials)
    steps = CompiledSteps.of(state, 0)
    steps.pace.steps = 1
    steps.advance(0, 1)
    steps.pace.steps = 64
    done, _ = steps.advance(1, 90)
    assert done == state.steps_per_epoch == 20
    expected = by_single_steps(monkeypatch, trials)
    assert expected.fail_step[1] > 0
    fails = expected.fail_step.masked_fill((expected.fail_step < 0) | (expected.fail_step > done), -1)
    assert (fails > 0).any()
    assert torch.equal(state.fail_step, fails)
    for model, fail in enumerate(fails.tolist()):
        losses = state.loss_buffer[:done, model]
        if fail < 0:
            assert losses.isfinite().all()
        else:
            assert losses[: fail - 1].isfinite().all()
            assert not losses[fail - 1].isfinite()
            assert losses[fail:].isnan().all()


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_model_that_diverges_changes_no_bit_of_its_neighbours(norm):
    healthy = replace(LONG, norm=norm, lr=0.1, momentum=0.9)
    trials = [replace(healthy, lr=1e30, seed=1), healthy, replace(healthy, lr=1e12, seed=2), replace(healthy, seed=3)]
    together = finish(start(trials))
    assert (together.fail_step > 0).tolist() == [True, False, True, False]
    for row in (1, 3):
        (alone,) = [finish(start([trials[row]]))]
        for name, tensor in alone.model_state.items():
            assert torch.equal(together.model_state[name][row], tensor[0]), name
        assert torch.equal(together.batch_loss[row], alone.batch_loss[0])


def test_resumed_at_any_call_it_goes_on_as_if_it_had_not_stopped(monkeypatch):
    options = {"norm": "batch", "norm_momentum": "cumulative", "momentum": 0.9, "schedule": "cosine"}
    trials = [replace(LONG, **options, seed=seed, lr=lr) for seed, lr in enumerate(DIVERGING)]
    cut_calls(monkeypatch, [3, 1, 2, 30])
    whole = finish(start(trials))
    events = sum(1 for _ in train(start(trials)))
    for event in range(1, events, 5):
        stopped = start(trials)
        done = train_until(stopped, event)
        resumed = start(trials)
        resumed.restore(stopped.tensors)
        assert_same_bits(tensors_of(finish(resumed, done)), tensors_of(whole))


@given(seconds=st.lists(st.floats(0, 10), min_size=1, max_size=20))
@settings(max_examples=50)
def test_the_pace_stays_within_the_ring_of_losses(seconds):
    pace = Pace()
    for each in seconds:
        pace.follow(pace.steps, each)
        assert 1 <= pace.steps <= LOSS_BUFFER_STEPS


@pytest.mark.parametrize(
    "options",
    [
        {"augment": "flip"},
        {"accumulation_steps": 2},
        {"max_cohort_size": 1},
        {"precision": "bfloat16"},
        {"memory_format": "channels_last"},
        {"model": "resmlp-6x2"},
    ],
    ids=str,
)
def test_what_has_no_compiled_form_trains_by_single_steps(options):
    state = init_state([replace(BASE, **options, steps=3)], DATA, CPU, {})
    assert CompiledSteps.of(state, 0) is None
    finish(state)
    assert state.fail_step.item() == -1
    assert state.batch_loss.isfinite().all()


def test_without_the_library_they_train_by_stacked_layers_to_the_same_result(request):
    trials = of_every_model(replace(BASE, norm="batch", momentum=0.9))
    expected = finish(start(trials))
    request.getfixturevalue("without_native_library")
    state = finish(init_state(trials, DATA, CPU, {}))
    assert state.ensemble.backend.name == "stacked"
    for name, tensor in expected.tensors.items():
        theirs = state.tensors[name].detach()
        torch.testing.assert_close(theirs, tensor.detach(), rtol=1e-8, atol=1e-10, equal_nan=True)


def test_where_a_batch_norm_has_no_running_statistics_evaluation_takes_the_same_batches_in_every_backend(monkeypatch):
    """Its statistics are those of the batch that is evaluated, so the size of that is part of the result."""
    trial = replace(BASE, model="mlp-8", norm="batch", norm_track_running_stats=False, steps=2, eval_every=1)
    curves = []
    for backend in ("compiled", "stacked"):
        monkeypatch.setattr(state_module, "fastest_backend", lambda *args, backend=backend: backend)
        state = finish(init_state([trial], DATA, CPU, {}))
        curves.append(state.curves["train.loss"][[0, -1]])
    torch.testing.assert_close(*curves, rtol=1e-5, atol=0.0)
