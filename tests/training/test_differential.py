"""Random settings, trained by the harness and by a plain program of torch, in double precision: the same comes out."""

import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from harness.ensemble.optim.schedules import SCHEDULES
from harness.errors import SuiteError
from harness.nn.norms import NORMS
from harness.spec.trial import BATCH_NORMS, Trial
from harness.training.augmentation import AUGMENTATIONS
from harness.training.checkpoint import Snapshot, newest, save
from harness.training.loop import train
from harness.training.results import outcomes
from harness.training.state import TrainState, init_state
from tests.support.alone import CPU, DATA, run
from tests.support.images import small_images
from tests.support.pairs import fits
from tests.support.plain_loop import PlainRun, state_of
from tests.support.rank_processes import learn
from tests.support.stopping import train_until

EXAMPLES = int(os.environ.get("HARNESS_DIFFERENTIAL", "16"))  # random settings; on two ranks half as many
OF_RANKS = small_images(300, 61, 37, apart=0.5)
pytestmark = pytest.mark.timeout(3600)  # seconds, where many are tried
# The others make larger steps of what rounding leaves, and are held to torch's where norms leave no such gradients.
TRIED_OPTIMIZERS = ("sgd", "adamw")
TRIED_SCHEDULES = [name for name in SCHEDULES if name != "one_cycle"]  # that is torch's own in a test of schedules
MODELS = ("mlp-6-5", "cnn-4-2", "resmlp-6x2", "resnet-8x2")
# A dead unit of a filter response norm stands at its threshold, where rounding decides what gets the gradient.
TIED = {("frn", "resnet-8x2")}
PAIRS = [(norm, model) for norm in NORMS for model in MODELS if fits(norm, model) and (norm, model) not in TIED]


@st.composite
def trials(draw: Any, world_size: int = 1) -> Trial:
    """Any trial that a few steps train to much the same weights whatever rounds in between."""
    norm, model = draw(st.sampled_from(PAIRS))
    parts = draw(st.sampled_from([1, 1, 2, 3]))
    each = draw(st.integers(3, 5)) if norm in BATCH_NORMS else draw(st.integers(1, 5))
    uneven = draw(st.integers(0, parts * world_size - 1)) if norm not in BATCH_NORMS else 0
    is_full = world_size == 1 and parts == 1 and draw(st.booleans())
    optimizer, schedule = draw(st.sampled_from(TRIED_OPTIMIZERS)), draw(st.sampled_from(TRIED_SCHEDULES))
    momentum = draw(st.sampled_from([0.0, 0.5, 0.9])) if optimizer == "sgd" else 0.0
    tracked = norm == "batch_renorm" or draw(st.booleans()) or draw(st.booleans())
    statistics = ["running", "running", "batch", *(["recalibrated"] if tracked else [])]
    options = {
        "norm_batch": draw(st.integers(2, each)) if norm == "ghost_batch" else None,
        "norm_groups": draw(st.sampled_from([1, 2])) if model != "mlp-6-5" else 1,
        "decay_every": draw(st.integers(1, 5)) if schedule == "step" else None,
    }
    try:
        return Trial(
            dataset="small", model=model, norm=norm, device="cpu", precision="float64", world_size=world_size,
            batch_size=len(DATA.y["train"]) if is_full else each * parts * world_size + uneven,
            accumulation_steps=parts, optimizer=optimizer, momentum=momentum,
            nesterov=bool(momentum) and draw(st.booleans()), schedule=schedule,
            warmup_steps=draw(st.sampled_from([0, 0, 3, 20])), steps=draw(st.integers(1, 9)),
            lr=draw(st.sampled_from([0.003, 0.03, 0.1])), seed=draw(st.integers(0, 10**6)),
            activation=draw(st.sampled_from(["relu", "tanh", "sigmoid"])),
            norm_eps=draw(st.sampled_from([1e-5, 1e-3])),
            norm_momentum=draw(st.sampled_from([0.1, 0.0, 1.0, "cumulative"])),
            norm_affine=draw(st.booleans()), norm_track_running_stats=tracked,
            eval_statistics=draw(st.sampled_from(statistics)), init=draw(st.sampled_from(["default", "he", "xavier"])),
            init_scale=draw(st.sampled_from([1.0, 0.5])), weight_decay=draw(st.sampled_from([0.0, 0.01, 0.3])),
            decay_norms=draw(st.booleans()), max_grad_norm=draw(st.sampled_from([None, 0.1, 1.0])),
            label_noise=draw(st.sampled_from([0.0, 0.3])), augment=draw(st.sampled_from(list(AUGMENTATIONS))),
            eval_every=draw(st.sampled_from([None, 2, 4])),
            ddp_eval_buffers=draw(st.sampled_from(["rank0", "mean"])), **options,
        )  # fmt: skip
    except SuiteError:
        assume(False)
        raise


def assert_same_curves(curves: Any, plain: PlainRun) -> None:
    for name, values in plain.curves.items():
        assert curves[name]["value"] == pytest.approx(values, rel=1e-7, abs=1e-9), name


def assert_same_tensors(tensors: dict[str, torch.Tensor], plain: PlainRun) -> None:
    expected = state_of(plain.model)
    assert tensors.keys() == expected.keys()
    # Where a norm takes away what a bias adds, its gradient is what rounding leaves, and Adam makes that large.
    atol = 1e-8 if plain.trial.optimizer == "sgd" else 1e-5
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-7, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


def tensors_of(state: TrainState, model: int) -> dict[str, torch.Tensor]:
    both = {**state.ensemble.weights, **state.ensemble.buffers}
    return {name: tensor[model].detach() for name, tensor in both.items()}


def resumed(cohort: list[Trial], moment: int) -> TrainState:
    """The state at the end of a training that was stopped after so many events, saved, and gone on with."""
    stopped = init_state(cohort, DATA, CPU, {})
    done = train_until(stopped, moment)
    again = init_state(cohort, DATA, CPU, {})
    with TemporaryDirectory() as folder:
        save(Path(folder), "c", Snapshot({"step": done}, stopped.tensors))
        snapshot, _ = newest(Path(folder), "c", {})
    again.restore(snapshot.tensors)
    for _ in train(again, done):
        pass
    return again


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(trial=trials(), other_lr=st.sampled_from([0.01, 0.05]), moment=st.integers(1, 12))
def test_a_trial_learns_what_a_plain_program_learns(trial, other_lr, moment):
    cohort = [trial, replace(trial, seed=trial.seed + 1, lr=other_lr)]
    state = run(cohort)
    for i, one in enumerate(cohort):
        plain = PlainRun(one, DATA).train()
        assert_same_tensors(tensors_of(state, i), plain)
        assert_same_curves(outcomes(state)[i].curves, plain)
    again = resumed(cohort, moment)
    for name, tensor in state.tensors.items():
        assert torch.equal(again.tensors[name].nan_to_num(7e30), tensor.nan_to_num(7e30)), name


@settings(max_examples=-(-EXAMPLES // 2), suppress_health_check=list(HealthCheck))
@given(trial=trials(world_size=2), moment=st.integers(1, 8))
def test_on_two_ranks_a_trial_learns_what_a_plain_program_learns(ranks, trial, moment):
    (tensors, (_, curves)), other = ranks(2, learn, trial, "float64", None, None, 0)
    plain = PlainRun(trial, OF_RANKS).train()
    found = {
        name.partition("/")[2]: tensor[0] for name, tensor in tensors.items() if name.startswith(("weight/", "buffer/"))
    }
    assert_same_tensors(found, plain)
    assert_same_curves(curves, plain)
    assert other[0].keys() == tensors.keys()
    step = min(moment, trial.steps)
    saved, _ = ranks(2, learn, trial, "float64", step, None, 0)[0]
    again, _ = ranks(2, learn, trial, "float64", None, saved, step)[0]
    for name, tensor in tensors.items():
        assert torch.equal(again[name].nan_to_num(7e30), tensor.nan_to_num(7e30)), name
