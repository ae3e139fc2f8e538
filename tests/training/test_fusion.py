"""Fused training against the same models trained alone, one plain module at a time, with torch's own optimizers.

All of it in double precision, where equality can be told from chance: in single precision a net that is sensitive to
its weights tells two orders of a sum apart.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.errors import SuiteError
from harness.training.augment import draw_moves, noisy_labels
from harness.training.datasets import Dataset
from harness.training.fusion import fuse
from harness.training.loop import train
from harness.training.models import build
from harness.training.norms import NORMS
from harness.training.optim import OPTIMIZERS, SCHEDULES
from harness.training.outcomes import outcomes
from harness.training.program import Program, prepare
from harness.training.streams import generator
from harness.trial import Trial
from tests.training.pairs import fits

CPU = torch.device("cpu")
MODELS = ["mlp-12-8", "mlp-8x2", "cnn-4-8", "resnet-8x2", "resmlp-8x2"]


def small_images(examples: int = 45) -> Dataset:
    """Noisy images of three kinds, 1 x 6 x 5 pixels."""
    rng = np.random.default_rng(0)
    y = np.arange(examples) % 3
    x = rng.standard_normal((examples, 1, 6, 5)) + y[:, None, None, None]
    parts = {"train": slice(0, 31), "val": slice(31, 38), "test": slice(38, None)}
    return Dataset(
        name="small",
        x={s: x[p] for s, p in parts.items()},
        y={s: y[p].astype(np.int64) for s, p in parts.items()},
        classes=3,
    )


DATA = small_images()
BASE = Trial(
    dataset="small", model="mlp-12-8", lr=0.1, batch_size=7, steps=9, norm_groups=2, eval_every=4, device="cpu"
)


@pytest.fixture(autouse=True)
def _double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def run(trials: list[Trial], data: Dataset = DATA) -> Program:
    program = prepare(trials, data, CPU, {})
    for _ in train(program):
        pass
    return program


def train_alone(trial: Trial, data: Dataset = DATA) -> tuple[nn.Module, list[float]]:
    """The same trial written out as a tutorial would: a module, an optimizer of torch, a loop."""
    model = build(trial, data.inputs, data.classes, {}).train()
    options = {"lr": trial.lr, "weight_decay": trial.weight_decay}
    if trial.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups(model, trial), momentum=trial.momentum, nesterov=trial.nesterov, **options)
    else:
        optimizer = torch.optim.AdamW(groups(model, trial), **options)
    x, y = (torch.from_numpy(arrays["train"]) for arrays in (data.x, data.y))
    if trial.label_noise:
        (y,) = noisy_labels(y, data.classes, [trial])
    losses, per_epoch = [], len(y) // trial.batch_size
    for step in range(trial.steps):
        epoch, batch = divmod(step, per_epoch)
        order = torch.randperm(len(y), generator=generator(trial.seed, "order", epoch))
        some = order[batch * trial.batch_size : (batch + 1) * trial.batch_size]
        optimizer.zero_grad()
        loss = 0.0
        for part in some.tensor_split(trial.accumulate):
            out = model(seen(x, part, trial, epoch))
            share = nn.functional.cross_entropy(out, y[part]) * len(part) / len(some)
            share.backward()
            loss += share.item()
        if trial.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), trial.clip_norm)
        optimizer.step()
        losses.append(loss)
    return model, losses


def groups(model: nn.Module, trial: Trial) -> list[dict]:
    """The parameters, those of layers that are neither linear nor convolutions apart where they don't decay."""
    if trial.decay_norms:
        return [{"params": list(model.parameters())}]
    weighted = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    decaying = {p for m in weighted for p in m.parameters()}
    others = [p for p in model.parameters() if p not in decaying]
    return [{"params": [p for p in model.parameters() if p in decaying]}, {"params": others, "weight_decay": 0.0}]


def seen(x: torch.Tensor, some: torch.Tensor, trial: Trial, epoch: int) -> torch.Tensor:
    """The images as they are seen in an epoch, one by one."""
    moves = draw_moves(trial.augment, [trial.seed], len(x), epoch, CPU)
    if moves is None:
        return x[some]
    images = []
    for i in some.tolist():
        top, left = moves.top[0, i].item(), moves.left[0, i].item()
        image = np.pad(x[i].numpy(), ((0, 0), (4, 4), (4, 4)))[:, top : top + x.shape[2], left : left + x.shape[3]]
        images.append(torch.from_numpy(image[:, :, ::-1].copy() if moves.flip[0, i] else image))
    return torch.stack(images)


def assert_equals_alone(program: Program, trials: list[Trial], data: Dataset = DATA) -> None:
    for i, trial in enumerate(trials):
        model, losses = train_alone(trial, data)
        fused = {**program.stack.weights, **program.stack.buffers}
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(fused[name][i].detach(), tensor, rtol=1e-8, atol=1e-10)
        assert program.batch_loss[i].item() == pytest.approx(sum(losses), rel=1e-9)
        labels = program.data["train"][1]
        assert_evaluates_alike(outcomes(program)[i].curves, model, data, labels[i] if labels.ndim == 2 else None)


def assert_evaluates_alike(curves, model: nn.Module, data: Dataset, labels: torch.Tensor | None = None) -> None:
    model.eval()
    for split in ("train", "val", "test"):
        with torch.no_grad():
            out = model(torch.from_numpy(data.x[split]))
        y = labels if split == "train" and labels is not None else torch.from_numpy(data.y[split])
        assert curves[f"{split}.loss"]["value"][-1] == pytest.approx(
            nn.functional.cross_entropy(out, y).item(), rel=1e-9
        )
        assert curves[f"{split}.accuracy"]["value"][-1] == pytest.approx((out.argmax(1) == y).double().mean().item())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("norm", NORMS)
def test_a_trial_in_a_cohort_learns_what_it_learns_alone(norm, model):
    if not fits(norm, model):
        pytest.skip("it can't have this norm")
    trials = [replace(BASE, norm=norm, model=model, lr=lr, seed=seed) for lr, seed in [(0.1, 0), (0.3, 1), (0.05, 2)]]
    assert_equals_alone(run(trials), trials)


@pytest.mark.parametrize(
    "options",
    [{"norm_eps": 0.1}, {"norm_momentum": 0.7}, {"norm_momentum": "cumulative"}, {"norm_affine": False},
     {"norm_track_running_stats": False}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("model", ["mlp-12-8", "cnn-4-8"])
def test_each_option_of_batch_norm_does_fused_what_it_does_alone(options, model):
    trials = [replace(BASE, norm="batch", model=model, lr=lr, **options) for lr in (0.1, 0.3)]
    assert_equals_alone(run(trials), trials)
    plain, _ = train_alone(
        replace(trials[0], norm_eps=1e-5, norm_momentum=0.1, norm_affine=True, norm_track_running_stats=True)
    )
    alone, _ = train_alone(trials[0])
    x = torch.from_numpy(DATA.x["test"])
    assert not torch.allclose(plain.eval()(x), alone.eval()(x)), (
        "the option makes no difference, so the test shows nothing"
    )


@pytest.mark.parametrize("model", ["mlp-12-8", "cnn-4-8"])
@pytest.mark.parametrize(
    "options",
    [{"norm": "none", "accumulate": 3}, {"norm": "batch", "batch_size": 6, "accumulate": 3},
     {"norm": "batch", "batch_size": 6, "accumulate": 2, "norm_momentum": "cumulative"},
     {"norm": "group", "batch_size": 31, "accumulate": 5}, {"norm": "ghost_batch", "norm_batch": 3},
     {"norm": "ghost_batch", "norm_batch": 2, "norm_momentum": "cumulative", "norm_affine": False},
     {"norm": "ghost_batch", "batch_size": 8, "accumulate": 2, "norm_batch": 2, "norm_track_running_stats": False}],
    ids=str,
)  # fmt: skip
def test_batches_in_parts_and_ghost_batches_train_fused_as_alone(options, model):
    trials = [replace(BASE, model=model, lr=lr, **options) for lr in (0.1, 0.3)]
    assert_equals_alone(run(trials), trials)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_optimizers_do_what_torch_does_with_values_of_each_model(optimizer, data):
    momenta = st.sampled_from([0.0, 0.5, 0.9]) if optimizer == "sgd" else st.just(0.0)
    values = st.tuples(st.sampled_from([1e-3, 0.02, 0.2]), momenta, st.sampled_from([0.0, 0.01, 0.3]))
    nesterov = optimizer == "sgd" and data.draw(st.booleans())
    trials = [
        replace(
            BASE, optimizer=optimizer, lr=lr, momentum=momentum or 0.1 * nesterov, weight_decay=decay, nesterov=nesterov
        )
        for lr, momentum, decay in data.draw(st.lists(values, min_size=1, max_size=4))
    ]
    assert_equals_alone(run(trials), trials)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("init", ["default", "he", "xavier", "normal"])
def test_every_init_and_activation_trains_fused_as_alone(activation, init):
    trials = [replace(BASE, activation=activation, init=init, init_scale=scale) for scale in (0.5, 1.0, 2.0)]
    assert_equals_alone(run(trials), trials)


def test_the_full_batch_is_neither_shuffled_nor_different_from_the_same_alone():
    trials = [replace(BASE, norm="batch", batch_size=31, lr=lr) for lr in (0.1, 0.2)]
    program = run(trials)
    for i, trial in enumerate(trials):
        model, _ = train_alone(trial)  # shuffled there: sums in another order
        for name, weight in model.named_parameters():
            torch.testing.assert_close(program.stack.weights[name][i].detach(), weight.detach(), rtol=1e-9, atol=1e-12)


def test_one_batch_an_epoch_that_is_not_the_full_batch_is_drawn_anew_in_each():
    trials = [replace(BASE, norm="batch", batch_size=20, seed=seed) for seed in range(2)]
    assert_equals_alone(run(trials), trials)


def test_a_cohort_of_one_is_padded_and_equals_its_place_in_a_larger_one():
    trials = [replace(BASE, batch_size=16, seed=seed) for seed in (3, 5, 8)]
    alone, together = run(trials[1:2]), run(trials)
    assert len(outcomes(alone)) == 1
    assert outcomes(alone)[0].curves["test.loss"]["value"] == pytest.approx(
        outcomes(together)[1].curves["test.loss"]["value"]
    )


def test_a_model_that_diverges_leaves_the_others_as_they_would_be_without_it():
    tame = [replace(BASE, lr=lr, steps=20) for lr in (0.1, 0.2)]
    wild = replace(BASE, lr=1e30, steps=20)
    with_it, without = run([tame[0], wild, tame[1]]), run(tame)
    for name, weight in without.stack.weights.items():
        torch.testing.assert_close(with_it.stack.weights[name][[0, 2]], weight)
    found = outcomes(with_it)
    assert [outcome.facts["fail_step"] is None for outcome in found] == [True, False, True]
    assert found[1].curves["test.loss"]["value"][-1] is None
    assert found[1].curves["test.accuracy"]["value"][-1] is None


def test_the_fail_step_is_the_first_step_whose_loss_is_not_finite():
    trial = replace(BASE, lr=1e30, steps=20)
    _, losses = train_alone(trial)
    expected = 1 + next(step for step, loss in enumerate(losses) if not np.isfinite(loss))
    assert outcomes(run([trial]))[0].facts["fail_step"] == expected


def test_arms_of_one_seed_start_from_the_same_weights_and_see_the_same_batches():
    norms = [norm for norm in NORMS if fits(norm, "cnn-4-8")]
    models = {norm: build(replace(BASE, norm=norm, seed=4, model="cnn-4-8"), DATA.inputs, 3, {}) for norm in norms}
    layers = {
        norm: [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)] for norm, model in models.items()
    }
    for norm in norms:
        for mine, others in zip(layers[norm], layers["none"], strict=True):
            assert torch.equal(mine.weight, others.weight)
            assert torch.equal(mine.bias, others.bias)
    # Norms change nothing of the first loss in evaluation but the scale; the batches are a function of the seed alone.
    first = [torch.randperm(31, generator=generator(4, "order", 0)) for _ in range(2)]
    assert torch.equal(*first)
    assert not torch.equal(first[0], torch.randperm(31, generator=generator(5, "order", 0)))


def test_dropout_is_a_function_of_the_cohort_and_the_step():
    def with_dropout(classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(30, 16), nn.Dropout(0.5), nn.Linear(16, classes))

    trials = [replace(BASE, model="with_dropout", lr=lr) for lr in (0.1, 0.2)]

    def weights(scramble: int) -> list[torch.Tensor]:
        program = prepare(trials, DATA, CPU, {"with_dropout": with_dropout})
        for _ in train(program):
            torch.manual_seed(scramble)
        return list(program.stack.weights.values())

    for one, two in zip(weights(1), weights(2), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"model": "mpl-8"}, "did you mean 'mlp'"),
        ({"model": "mlp-8x"}, "mlp-64x8"),
        ({"model": "mlp"}, "mlp-64x8"),
        ({"model": "mlp-0"}, "size 0"),
        ({"model": "mlp-99999999x9"}, "weights"),
        ({"norm": "bacth"}, "did you mean 'batch'"),
        ({"norm": "group", "norm_groups": 5}, "must divide"),
        ({"norm": "instance"}, "pixels"),
        ({"norm": "skipinit"}, "residual branches"),
        ({"model": "resnet-21"}, "6n \\+ 2 layers"),
        ({"model": "resnet-2"}, "6n \\+ 2 layers"),
        ({"model": "resnet-8-8"}, "resnet-20 or resnet-20x8"),
        ({"model": "resnet-8x0"}, "size 0"),
        ({"model": "resnet-20x99999999"}, "weights"),
        ({"model": "vgg-12"}, "11, 13, 16, 19 layers"),
        ({"activation": "gelu2"}, "choose from: relu"),
        ({"init": "kaiming"}, "choose from"),
    ],
    ids=str,
)
def test_a_model_that_cannot_be_built_is_refused_in_a_line(changes, word):
    with pytest.raises(SuiteError, match=word) as refusal:
        build(replace(BASE, **changes), DATA.inputs, 3, {})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_moves_lr_as_torch_moves_it(schedule):
    from harness.training.optim import lr_factor

    trial = replace(BASE, schedule=schedule, decay_every=3, decay_factor=0.5, steps=11)
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    oracle = {
        "constant": lambda: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0),
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=11),
        "step": lambda: torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5),
    }[schedule]()
    for step in range(11):
        assert lr_factor(trial, step, 11) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        oracle.step()


def test_a_warm_up_is_linear_and_the_schedule_begins_after_it():
    from harness.training.optim import lr_factor

    trial = replace(BASE, schedule="cosine", warmup_steps=4, steps=10)
    assert [lr_factor(trial, step, 10) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert lr_factor(trial, 9, 10) < lr_factor(trial, 5, 10)


def test_stacking_keeps_tensors_apart():
    model = build(BASE, DATA.inputs, 3, {})
    stack = fuse([model, model], DATA.inputs, CPU, "stacked")
    with torch.no_grad():
        next(iter(stack.weights.values()))[0].zero_()
    assert next(iter(stack.weights.values()))[1].abs().sum() > 0
