"""What a trial may be told besides its model: precision, clipping, weight decay, augmentation, label noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from harness.ensemble.optim.clipping import clip_grad_norm, limits_like
from harness.ensemble.precision import PRECISIONS
from harness.errors import SuiteError
from harness.nn.layers import ResidualScale
from harness.nn.models import build
from harness.nn.norms import NORMS, norm_parameters
from harness.training.augmentation import (
    AUGMENTATIONS,
    PAD,
    Augmentation,
    apply_augmentation,
    draw_augmentation,
    noisy_labels,
)
from harness.training.checkpoint import Snapshot, dump, load
from harness.training.results import outcomes
from harness.training.state import init_state
from tests.support.alone import BASE, CPU, DATA, assert_equals_alone, run
from tests.support.pairs import SMALL, fits
from tests.support.stopping import train_until
from tests.training.test_loop import DIGITS, assert_bit_equal, finish

ADAMW = {"optimizer": "adamw", "norm": "group"}  # a bias before batch norm has a gradient of nothing but rounding
SINGLE = replace(BASE, dataset="digits", batch_size=100, steps=12)  # in numbers as users have them


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("model", ["mlp-12-8", "cnn-4-8"])
@pytest.mark.parametrize(
    "options",
    [
        [{"max_grad_norm": 0.2}, {"max_grad_norm": 0.5}, {}],
        [{"adaptive_clip": 0.01}, {"adaptive_clip": 0.1, "max_grad_norm": 0.2}, {}],
        [{"weight_decay": 0.3, "decay_norms": False}, {"weight_decay": 0.2}, {"decay_norms": False}],
        [ADAMW | {"weight_decay": 0.3, "decay_norms": False}, ADAMW | {"weight_decay": 0.2}],
        [{"label_noise": 0.5}, {"label_noise": 0.2, "seed": 3}, {}],
        [{"label_noise": 0.3, "batch_size": 31}, {"batch_size": 31}],
        [{"augment": "flip"}, {"augment": "flip", "seed": 3}],
        [{"augment": "crop"}, {"augment": "crop", "seed": 3}],
        [{"augment": "flip+crop", "batch_size": 31}, {"augment": "flip+crop", "batch_size": 31, "seed": 3}],
    ],
    ids=str,
)  # fmt: skip
def test_with_any_option_a_trial_in_a_cohort_learns_what_it_learns_alone(options, model):
    trials = [replace(BASE, model=model, **{"norm": "batch", **changes}) for changes in options]
    state = run(trials)
    assert_equals_alone(state, trials)
    told = ("max_grad_norm", "adaptive_clip", "decay_norms", "label_noise", "augment")
    usual = {name: getattr(BASE, name) for name in told}
    without = run([replace(trial, **usual) for trial in trials])
    weights = [found.ensemble.weights for found in (state, without)]
    assert not all(torch.allclose(weights[0][name][0], weights[1][name][0]) for name in weights[0]), "no difference"


def test_where_most_have_diverged_the_others_keep_their_limits_and_labels():
    lrs, limits = [1e20, 0.1, 1e20, 1e20, 0.2, 1e20], ("max_grad_norm", "adaptive_clip")
    trials = [
        replace(
            SINGLE, seed=i, lr=lr, label_noise=0.2, augment="flip", **dict.fromkeys(limits, None if lr > 1 else 0.3 + i)
        )
        for i, lr in enumerate(lrs)
    ]
    together = outcomes(finish(init_state(trials, DIGITS, CPU, {})))
    apart = outcomes(finish(init_state([trials[1], trials[4]], DIGITS, CPU, {})))
    for ours, theirs in zip((together[1], together[4]), apart, strict=True):
        assert ours.facts == theirs.facts
        for name, curve in theirs.curves.items():
            assert ours.curves[name]["value"] == pytest.approx(curve["value"], rel=1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("model", ["mlp-8", "cnn-4"])
def test_resumed_with_every_option_equals_uninterrupted(tmp_path, precision, model):
    options = {
        "precision": precision,
        "max_grad_norm": 0.5,
        "adaptive_clip": 0.1,
        "label_noise": 0.1,
        "augment": "flip+crop",
    }
    trials = [replace(SINGLE, model=model, norm="batch", seed=seed, **options) for seed in range(2)]
    whole, stopped = finish(init_state(trials, DIGITS, CPU, {})), init_state(trials, DIGITS, CPU, {})
    done = train_until(stopped, 6)
    (tmp_path / "snapshot").write_bytes(dump(Snapshot({"step": done}, stopped.tensors)))
    resumed = init_state(trials, DIGITS, CPU, {})
    resumed.restore(load(tmp_path / "snapshot").tensors)
    assert_bit_equal(finish(resumed, done), whole)


@given(st.lists(st.none() | st.sampled_from([0.1, 1.0, 30.0]), min_size=3, max_size=3), st.integers(0, 9))
def test_gradients_are_clipped_model_by_model_as_torch_clips_them(limits, seed):
    rng = torch.Generator().manual_seed(seed)
    grads = {"a": torch.randn(3, 4, 2, generator=rng).double(), "b": torch.randn(3, 5, generator=rng).double()}
    found = grads
    trials = [replace(BASE, max_grad_norm=limit) for limit in limits]
    if (tensor := limits_like(trials, "max_grad_norm", grads["a"])) is not None:
        found = clip_grad_norm(grads, tensor)
    assert (tensor is None) == (set(limits) == {None})
    for i, limit in enumerate(limits):
        weights = [nn.Parameter(torch.zeros_like(grad[i])) for grad in grads.values()]
        for weight, grad in zip(weights, grads.values(), strict=True):
            weight.grad = grad[i].clone()
        if limit is not None:
            nn.utils.clip_grad_norm_(weights, limit)
        for weight, grad in zip(weights, found.values(), strict=True):
            torch.testing.assert_close(grad[i], weight.grad)


def test_a_model_without_a_limit_keeps_its_gradient_to_the_bit_also_where_it_is_infinite():
    grads = {"a": torch.tensor([[0.1, 3.0], [torch.inf, 1.0]])}
    found = clip_grad_norm(grads, torch.tensor([torch.inf, torch.inf]))["a"]
    assert torch.equal(found, grads["a"])


@pytest.mark.parametrize("norm", NORMS)
def test_all_parameters_but_those_of_linear_layers_and_convolutions_belong_to_norms(norm):
    model = build(replace(BASE, model=SMALL["resnet"], norm=norm), DATA.input_shape, 3, {})
    others = (nn.Linear, nn.Conv2d, ResidualScale)
    weighted = [name for name, layer in model.named_modules() if isinstance(layer, others)]
    owners = {name: name.rpartition(".") for name, _ in model.named_parameters()}
    expected = {name for name, (owner, _, own) in owners.items() if owner not in weighted or own == "gain"}
    assert norm_parameters(model) == expected
    assert expected or norm in ("none", "skipinit")


@given(st.integers(0, 99), st.just(0.0) | st.floats(1e-3, 1), st.integers(2, 7))
def test_label_noise_replaces_just_its_share_by_other_classes(seed, share, classes):
    y = torch.arange(401) % classes
    trial = replace(BASE, seed=seed, label_noise=share)
    noisy = noisy_labels(y, classes, [trial, replace(trial, label_noise=0.0)])
    if share == 0:
        assert torch.equal(noisy, y)
        return
    assert (noisy[0] != y).sum() == round(share * 401)
    assert torch.equal(noisy[1], y)
    assert (noisy.min(), noisy.max()) >= (0, 0)
    assert noisy.max() < classes
    less = noisy_labels(y, classes, [replace(trial, label_noise=share / 2)])
    assert ((less[0] == y) | (less[0] == noisy[0])).all()


def test_wrong_labels_are_drawn_from_all_other_classes_alike():
    y = torch.zeros(30_000, dtype=torch.int64)
    (noisy,) = noisy_labels(y, 4, [replace(BASE, label_noise=1.0)])
    counts = torch.bincount(noisy, minlength=4)
    assert counts[0] == 0
    assert (counts[1:] - 10_000).abs().max() < 400  # about five deviations


def test_labels_are_noisy_in_training_alone_and_the_same_for_all_arms():
    arms = [replace(SINGLE, norm=norm, model="mlp-8", label_noise=0.3, seed=5) for norm in ("batch", "none")]
    states = [init_state([arm], DIGITS, CPU, {}) for arm in arms]
    assert torch.equal(*(state.data["train"][1] for state in states))
    for split in ("val", "test"):
        assert np.array_equal(states[0].data[split][1].numpy(), DIGITS.y[split])


@pytest.mark.usefixtures("double_precision")
def test_a_memory_of_noise_shows_in_the_score_of_the_training_examples():
    (clean,) = outcomes(run([replace(BASE, steps=60, lr=0.3)]))
    (noisy,) = outcomes(run([replace(BASE, steps=60, lr=0.3, label_noise=0.4)]))
    assert noisy.curves["train.accuracy"]["value"][-1] < clean.curves["train.accuracy"]["value"][-1]
    assert noisy.facts["guess_loss"] > 0


@given(st.integers(0, 2 * PAD), st.integers(0, 2 * PAD), st.booleans())
def test_an_image_is_padded_cropped_and_mirrored(top, left, flip):
    x = torch.arange(2 * 3 * 2 * 6 * 5, dtype=torch.float32).view(2, 3, 2, 6, 5)
    numbers = draw_augmentation("flip+crop", [0, 1, 2], 2, 0, CPU)
    numbers[:, 1, 0] = torch.tensor([top, left, flip])
    found = apply_augmentation("flip+crop", x, numbers)[0, 1].numpy()
    expected = np.pad(x[0, 1].numpy(), ((0, 0), (PAD, PAD), (PAD, PAD)))[:, top : top + 6, left : left + 5]
    np.testing.assert_array_equal(found, expected[:, :, ::-1] if flip else expected)


def test_what_is_drawn_for_an_augmentation_is_a_function_of_seed_epoch_and_example():
    one, two = (draw_augmentation("flip+crop", seeds, 50, 3, CPU) for seeds in ([4, 7], [7, 9, 4]))
    next_epoch = draw_augmentation("flip+crop", [4, 7], 50, 4, CPU)
    for number in range(3):  # top, left, flip
        assert torch.equal(one[number, 0], two[number, 2])
        assert not torch.equal(one[number, 0], one[number, 1])
        assert not torch.equal(one[number], next_epoch[number])
    flipped = draw_augmentation("flip", [4, 7], 50, 3, CPU)
    assert torch.equal(flipped[2], one[2])
    assert set(flipped[0].flatten().tolist()) == {PAD}
    assert set(one[0].flatten().tolist()) == set(range(2 * PAD + 1))
    assert draw_augmentation("none", [4, 7], 50, 3, CPU) is None


@pytest.mark.usefixtures("double_precision")
def test_an_augmentation_is_an_entry_and_nothing_else(monkeypatch):
    def draw(seed, epoch, examples):
        return (torch.arange(examples) + seed + epoch).unsqueeze(0) % 2

    def negate(x, numbers):
        assert numbers.shape == (1, x.shape[1], x.shape[0])
        return torch.where(numbers[0].T[..., None, None, None] == 1, -x, x)

    monkeypatch.setitem(AUGMENTATIONS, "negative", Augmentation(draw, negate))
    trials = [replace(BASE, augment="negative", accumulation_steps=2, seed=seed) for seed in range(3)]
    together, without = run(trials), run([replace(trial, augment="none") for trial in trials])
    for i, trial in enumerate(trials):
        alone = run([trial]).ensemble.weights
        for name, weight in together.ensemble.weights.items():
            torch.testing.assert_close(weight[i], alone[name][0])
            assert not torch.allclose(weight[i], without.ensemble.weights[name][i]), name


@pytest.mark.parametrize("augment", [name for name in AUGMENTATIONS if name != "none"])
def test_vectors_are_not_augmented(augment):
    vectors = replace(DATA, x={split: x.reshape(len(x), -1) for split, x in DATA.x.items()})
    with pytest.raises(SuiteError, match="needs images"):
        init_state([replace(BASE, augment=augment)], vectors, CPU, {})


@pytest.mark.parametrize("changes", [{"precision": "float16"}, {"augment": "flop"}], ids=str)
def test_an_option_that_is_unknown_is_refused_with_those_that_are(changes):
    with pytest.raises(SuiteError, match="choose from"):
        init_state([replace(BASE, **changes)], DATA, CPU, {})


def test_double_precision_starts_from_the_same_weights_and_is_double_all_through():
    single, double = (init_state([replace(SINGLE, precision=p)], DIGITS, CPU, {}) for p in ("float32", "float64"))
    for name, weight in single.ensemble.weights.items():
        assert double.ensemble.weights[name].dtype is torch.float64
        assert torch.equal(weight.double(), double.ensemble.weights[name])
    finish(double)
    assert {tensor.dtype for tensor in double.tensors.values()} <= {torch.float64, torch.int64}
    assert double.data["train"][0].dtype is torch.float64


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("model", ["mlp-12-8", "cnn-4-8"])
def test_bfloat16_is_what_torch_autocast_makes_of_the_model_alone(norm, model):
    if not fits(norm, model):
        pytest.skip("it can't have this norm")
    trials = [replace(SINGLE, model=model, norm=norm, precision="bfloat16", steps=3, seed=seed) for seed in range(2)]
    state = init_state(trials, DIGITS, CPU, {})
    assert state.ensemble.backend.name == "stacked"
    x, y = (torch.from_numpy(arrays["train"][:100]) for arrays in (DIGITS.x, DIGITS.y))
    out, grads = state.ensemble.gradients(x, shared=True, loss_fn=lambda out: (out.clone(), torch.ones_like(out)))
    assert out.dtype is torch.float32
    for i, trial in enumerate(trials):
        alone = build(trial, DIGITS.input_shape, 10, {}).train()
        with torch.autocast("cpu", torch.bfloat16):
            theirs = alone(x)
        theirs.float().sum().backward()
        size = theirs.abs().max().item()
        torch.testing.assert_close(out[i].T, theirs.detach().float(), rtol=0, atol=0.03 * size)
        exact = build(trial, DIGITS.input_shape, 10, {}).train()(x)
        assert not torch.equal(out[i].T, exact), "nothing is rounded"
        for name, weight in alone.named_parameters():
            scale = weight.grad.abs().max().item() + 0.01 * len(y)
            torch.testing.assert_close(grads[name][i], weight.grad, rtol=0, atol=0.1 * scale)
    finish(state)
    assert all(weight.dtype is torch.float32 for weight in state.ensemble.weights.values())
    assert (state.batch_loss / 3 < 3.0).all()


def test_a_model_that_is_mapped_is_trained_in_bfloat16_too():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(64, 10)
            self.scale = nn.Parameter(torch.ones(10))

        def forward(self, x):
            return self.inner(x.flatten(1)) * self.scale

    trials = [replace(SINGLE, model="own", precision="bfloat16", seed=seed) for seed in range(3)]
    state = finish(init_state(trials, DIGITS, CPU, {"own": Own}))
    assert state.ensemble.backend.name == "vmap"
    assert state.curves["train.loss"][-1].max() < state.curves["train.loss"][0].min()
