"""Compiled code against the plain modules, for chains of layers of any kind."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.ensemble.backend_choice import select_backend
from harness.ensemble.backends import compiled as compiled_module
from harness.ensemble.backends.base import NotStackableError
from harness.ensemble.compute_options import ComputeOptions
from harness.ensemble.native import build, targets
from harness.errors import BuildError
from harness.nn.layers import RMSNorm
from harness.nn.losses import per_example_loss
from tests.support.chains import (
    BATCHES,
    a_chain,
    assert_trains_and_evaluates_as_the_modules,
    compiled,
    unlike_copies,
)

if isinstance(build.library_or_error("double"), BuildError):
    pytest.skip("there is no native library", allow_module_level=True)

FLAT = nn.Flatten
CHAINS = {  # in an order that takes memory over, or gives it on, in a way of its own
    "a linear layer alone": ((5,), lambda: [nn.Linear(5, 3)]),
    "one number, one class": ((1,), lambda: [nn.Linear(1, 1)]),
    "norm first of all": ((6,), lambda: [nn.BatchNorm1d(6), nn.Linear(6, 3)]),
    "norms alone": ((6,), lambda: [nn.LayerNorm(6), nn.BatchNorm1d(6), RMSNorm(6, 1e-5, True), nn.Linear(6, 3)]),
    "group norms one behind the other": (
        (6, 4),
        lambda: [nn.GroupNorm(2, 6), nn.GroupNorm(3, 6), nn.BatchNorm1d(6), FLAT(), nn.Linear(24, 3)],
    ),
    "norm after an activation": (
        (6,),
        lambda: [nn.Linear(6, 9), nn.Sigmoid(), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 3)],
    ),
    "activation after activation": (
        (6,),
        lambda: [nn.Linear(6, 9), nn.Tanh(), nn.Sigmoid(), nn.ReLU(), nn.Linear(9, 3)],
    ),
    "activation first of all": ((6,), lambda: [nn.Sigmoid(), nn.Linear(6, 3)]),
    "pool right after a convolution": (
        (2, 7, 8),
        lambda: [nn.Conv2d(2, 5, 3, padding=1), nn.MaxPool2d(3), FLAT(), nn.Linear(20, 3)],
    ),
    "pool after pool": (
        (2, 9, 8),
        lambda: [nn.Conv2d(2, 4, 2), nn.MaxPool2d(2), nn.MaxPool2d((2, 1)), nn.ReLU(), FLAT(), nn.Linear(24, 3)],
    ),
    "pool first of all": ((3, 9), lambda: [nn.MaxPool1d(2), nn.Conv1d(3, 4, 2), FLAT(), nn.Linear(12, 3)]),
    "pool, then a norm": (
        (3, 6, 6),
        lambda: [nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.Tanh(), FLAT(), nn.Linear(16, 3)],
    ),
    "Flatten first": ((2, 3, 4), lambda: [FLAT(), nn.Linear(24, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 3)]),
    "windows wholly in the padding": (
        (2, 2, 3),
        lambda: [nn.Conv2d(2, 3, (1, 2), padding=3), nn.ReLU(), FLAT(), nn.Linear(192, 3)],
    ),
    "kernel as large as the image": (
        (3, 4, 5),
        lambda: [nn.Conv2d(3, 40, (4, 5)), nn.ReLU(), FLAT(), nn.Linear(40, 3)],
    ),
    "kernel as large as the image, padded": (
        (3, 2, 2),
        lambda: [nn.Conv2d(3, 9, 2, padding=1), nn.ReLU(), FLAT(), nn.Linear(81, 3)],
    ),
    "images without a bias": (
        (1, 5, 6),
        lambda: [
            nn.Conv2d(1, 40, 5, padding=2, bias=False),
            nn.InstanceNorm2d(40),
            nn.ReLU(),
            FLAT(),
            nn.Linear(1200, 2),
        ],
    ),
    "nested, with identities": (
        (4,),
        lambda: [
            nn.Identity(),
            nn.Sequential(nn.Linear(4, 5), nn.Sequential(nn.Identity(), nn.ReLU())),
            nn.Linear(5, 2),
        ],
    ),
}


@pytest.mark.parametrize("batch", [1, 2, 9, 33])
@pytest.mark.parametrize("name", CHAINS)
def test_chains_of_every_order_are_the_modules(name, batch):
    shape, layers = CHAINS[name]
    models = unlike_copies(nn.Sequential(*layers()), 2, seed=batch)
    assert_trains_and_evaluates_as_the_modules(models, shape, batch, seed=batch)


@given(rng=st.randoms(use_true_random=False), batch=st.sampled_from(BATCHES) | st.integers(1, 70))
@settings(max_examples=150)
def test_chains_drawn_at_random_are_the_modules(rng, batch):
    torch.manual_seed(0)
    model, shape = a_chain(rng)
    models = unlike_copies(model, rng.choice([1, 2, 3]), seed=batch)
    assert_trains_and_evaluates_as_the_modules(models, shape, batch, seed=batch)


@pytest.mark.parametrize("batch", BATCHES)
def test_so_they_are_in_single_precision_as_far_as_its_numbers_go(batch):
    rng = random.Random(batch)
    for _ in range(3):
        model, shape = a_chain(rng)
        models = unlike_copies(model, 2, seed=batch, dtype=torch.float32)
        if not any(isinstance(layer, nn.ReLU | nn.MaxPool1d | nn.MaxPool2d) for layer in model):  # which jump
            assert_trains_and_evaluates_as_the_modules(models, shape, max(batch, 3), seed=batch, tolerance=2e-3)


WHOLE_NUMBERS = {  # sums of small whole numbers have no rounding, in whatever order; many of them are equal
    "vectors": ((7,), lambda: [nn.Linear(7, 20), nn.ReLU(), nn.Linear(20, 9), nn.ReLU(), nn.Linear(9, 3)]),
    "signals": ((2, 11), lambda: [nn.Conv1d(2, 6, 3, padding=1), nn.MaxPool1d(3), nn.ReLU(), FLAT(), nn.Linear(18, 3)]),
    "images": (
        (3, 7, 6),
        lambda: [
            nn.Conv2d(3, 5, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(5, 4, (2, 1)),
            nn.MaxPool2d((1, 2)),
            FLAT(),
            nn.Linear(8, 2),
        ],
    ),
}


def assert_exact_in_single_precision(name, batch):
    """To the bit, so that also what jumps, an activation or the winner of a pool, is that of torch."""
    shape, layers = WHOLE_NUMBERS[name]
    rng = torch.Generator().manual_seed(batch)
    model = nn.Sequential(*layers())
    for weight in model.parameters():
        weight.data = torch.randint(-1, 2, weight.shape, generator=rng).float()
    x = torch.randint(-2, 3, (batch, *shape), generator=rng).float()
    fused, expected = compiled([model], shape), model(x)
    towards = torch.randint(-1, 2, expected.shape, generator=rng).float()
    expected.backward(towards)
    assert expected.detach().unique().numel() < 200, "too many different numbers for ties"
    out, grads = fused.gradients(x, shared=True, loss_fn=lambda out: (out.clone(), towards.T.unsqueeze(0)))
    assert torch.equal(out[0].T, expected)
    for weight_name, weight in model.named_parameters():
        assert torch.equal(grads[weight_name][0], weight.grad), weight_name


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", WHOLE_NUMBERS)
def test_whole_numbers_are_exact_in_single_precision(name, batch):
    assert_exact_in_single_precision(name, batch)


@pytest.mark.parametrize("channels", range(1, 41))
def test_any_number_of_channels(channels):
    norms = [nn.BatchNorm1d(channels), nn.GroupNorm(channels if channels % 2 else 2, channels)]
    model = nn.Sequential(nn.Linear(channels, channels), norms[channels % 2], nn.Tanh(), nn.Linear(channels, channels))
    models = unlike_copies(model, 2, seed=channels)
    assert_trains_and_evaluates_as_the_modules(models, (channels,), 11, seed=channels)
    model = nn.Sequential(nn.Conv1d(channels, channels, 3, padding=1), nn.Tanh(), FLAT(), nn.Linear(5 * channels, 2))
    assert_trains_and_evaluates_as_the_modules(unlike_copies(model, 2, seed=channels), (channels, 5), 11, seed=channels)


INF, NAN = float("inf"), float("nan")
SPECIAL = [0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 1e100, -1e100, 5e-324]  # squares stay finite: there torch norms differ
LAYERS_FOR_SPECIAL = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "pool": lambda: nn.MaxPool1d(3),
    "group": lambda: nn.GroupNorm(1, 2),
    "instance": lambda: nn.InstanceNorm1d(2),
    "rms": lambda: RMSNorm(2, 1e-5, True),
    "batch": lambda: nn.BatchNorm1d(2),
}


@pytest.mark.parametrize("name", LAYERS_FOR_SPECIAL)
def test_nan_and_infinities_go_where_they_go_in_torch(name):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(len(SPECIAL) * 3, 2, 6, generator=rng, dtype=torch.float64)
    for i, number in enumerate(SPECIAL * 3):  # at another place in every example; two that meet now and then
        x[i, i % 2, i % 6] = number
        x[i, i // 2 % 2, i // 3 % 6] = SPECIAL[i * 7 % len(SPECIAL)]
    layer = LAYERS_FOR_SPECIAL[name]()
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(layer(torch.zeros(2, 2, 6))[0].numel(), 3)).double()
    (plain,) = unlike_copies(model, 1, seed=0)
    fused = compiled([plain], (2, 6))
    plain.train()
    with torch.no_grad():
        expected = plain(x).T
    out, _ = fused.gradients(x, shared=True, loss_fn=lambda out: (out.clone(), torch.ones_like(out)))
    torch.testing.assert_close(out[0], expected, rtol=1e-9, atol=1e-9, equal_nan=True)
    with torch.no_grad(), fused.eval_mode():
        torch.testing.assert_close(fused(x, shared=True)[0], plain.eval()(x).T, rtol=1e-9, atol=1e-9, equal_nan=True)


def floats():
    """Numbers of single precision over their whole range."""
    large = torch.logspace(-45, 38, 4000, dtype=torch.float64)
    middle = torch.linspace(-110, 110, 20011, dtype=torch.float64)
    fine = torch.linspace(-1, 1, 5003, dtype=torch.float64)
    special = torch.tensor([0.0, -0.0, INF, -INF, NAN, 1.4e-45, -1.4e-45, 0.625, -0.625, 88.72, 88.73, -103.9, -104.1])
    return torch.cat([large, -large, middle, fine, special]).float().unsqueeze(1)


@pytest.mark.parametrize(("layer", "function"), [(nn.Tanh, torch.tanh), (nn.Sigmoid, torch.sigmoid)])
def test_single_precision_is_within_four_units_in_the_last_place(layer, function):
    model = nn.Sequential(layer(), nn.Linear(1, 1, bias=False))
    nn.init.ones_(model[1].weight)
    fused, x = compiled([model], (1,)), floats()
    with torch.no_grad(), fused.eval_mode():
        out = fused(x, shared=True)[0, 0]
    exact = function(x.double()).squeeze(1)
    assert torch.equal(out.isnan(), exact.isnan())
    unit = torch.nextafter(exact.abs().float(), torch.tensor(INF)) - exact.abs().float()
    off = (out.double() - exact).abs()
    assert (off <= 4 * unit + 2e-38)[~exact.isnan()].all()  # below, numbers are no longer normal


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exp_and_log_of_the_loss_are_torchs(dtype):
    model = nn.Linear(2, 2, bias=False).to(dtype)
    model.weight.data = torch.eye(2, dtype=dtype)
    fused = compiled([model], (2,))
    labels = torch.zeros(1, dtype=torch.int64)
    for number in [*floats()[::97, 0].tolist(), *floats()[-13:, 0].tolist()]:
        x = torch.tensor([[0.0, number]], dtype=dtype)
        with fused.eval_mode():
            (loss,), _ = fused.backend.score([x], labels)
            expected = per_example_loss(fused(x, shared=True), labels)[0, 0].double()
        rounding = 4 * torch.finfo(dtype).eps
        torch.testing.assert_close(loss, expected, rtol=rounding, atol=rounding, equal_nan=True, msg=f"of {number}")


@pytest.mark.parametrize("examples", [1, 7, 8, 9, 16, 17, 31, 32, 33, 70, 200])
def test_scores_are_the_sums_of_losses_and_of_right_answers(examples):
    rng = torch.Generator().manual_seed(examples)
    model = nn.Sequential(nn.Linear(4, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 5))
    models = unlike_copies(model, 3, seed=examples)
    fused = compiled(models, (4,))
    x = torch.randn(examples, 4, generator=rng, dtype=torch.float64)
    for shape in ((examples,), (3, examples)):
        y = torch.randint(5, shape, generator=rng)
        with fused.eval_mode():
            losses, correct = fused.backend.score([x], y)
        with torch.no_grad():
            out = torch.stack([model.eval()(x).T for model in models])
        torch.testing.assert_close(losses, per_example_loss(out, y).sum(1), rtol=1e-12, atol=1e-12)
        assert torch.equal(correct, (out.argmax(1) == y).sum(1))


def test_of_equal_outputs_the_first_is_the_answer():
    model = nn.Linear(1, 4)
    nn.init.zeros_(model.weight)
    model.bias.data = torch.tensor([1.0, 2.0, 0.0, 2.0])
    fused, y = compiled([model], (1,)), torch.arange(40) % 4
    with fused.eval_mode():
        _, correct = fused.backend.score([torch.zeros(40, 1)], y)
    assert correct.tolist() == [10]
    model.bias.data = torch.tensor([2.0, 2.0, 2.0, 2.0])
    fused = compiled([model], (1,))
    with fused.eval_mode():
        _, correct = fused.backend.score([torch.zeros(40, 1)], torch.zeros(40, dtype=torch.int64))
    assert correct.tolist() == [40]


class Shared(nn.Sequential):
    """Would be a chain, and may do anything."""


def with_one_layer_twice():
    layer = nn.Linear(5, 5)
    return nn.Sequential(layer, nn.ReLU(), layer)


def with_one_weight_twice():
    one, two = nn.Linear(5, 5), nn.Linear(5, 5)
    two.weight = one.weight
    return nn.Sequential(one, nn.ReLU(), two)


def of_images(*layers):
    return lambda: nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))


REFUSED = {
    "a layer twice": ((5,), with_one_layer_twice),
    "a weight twice": ((5,), with_one_weight_twice),
    "a class of its own": ((5,), lambda: Shared(nn.Linear(5, 3))),
    "dropout": ((5,), lambda: nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.1), nn.Linear(4, 3))),
    "an activation at the end": ((5,), lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU())),
    "strides": ((2, 6, 6), of_images(nn.Conv2d(2, 3, 3, stride=2))),
    "dilation": ((2, 6, 6), of_images(nn.Conv2d(2, 3, 2, dilation=2))),
    "groups": ((2, 6, 6), of_images(nn.Conv2d(2, 4, 3, groups=2))),
    "a padding mode": ((2, 6, 6), of_images(nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"))),
    "a padding by name": ((2, 6, 6), of_images(nn.Conv2d(2, 3, 3, padding="same"))),
    "ceil_mode": ((2, 5, 5), of_images(nn.MaxPool2d(2, ceil_mode=True))),
    "pools that overlap": ((2, 6, 6), of_images(nn.MaxPool2d(3, stride=1))),
    "padded pools": ((2, 6, 6), of_images(nn.MaxPool2d(2, padding=1))),
    "pools with gaps": ((2, 6, 6), of_images(nn.MaxPool2d(2, dilation=2))),
    "a linear layer on images": ((2, 6, 6), lambda: nn.Sequential(nn.Linear(6, 4), nn.Flatten(), nn.Linear(48, 3))),
    "a layer norm over pixels": ((2, 6), of_images(nn.LayerNorm(6))),
    "running instance statistics": ((2, 6), of_images(nn.InstanceNorm1d(2, track_running_stats=True))),
    "an odd Flatten": ((2, 3, 4), lambda: nn.Sequential(nn.Flatten(2), nn.Flatten(), nn.Linear(24, 3))),
    "more weights than fit": ((1500,), lambda: nn.Sequential(nn.Linear(1500, 1400), nn.Linear(1400, 3))),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_compiled_form_is_refused_and_runs_otherwise(name):
    shape, make = REFUSED[name]
    model = make()
    model.train()(torch.zeros(3, *shape))
    with pytest.raises(NotStackableError):
        compiled([model], shape)
    assert select_backend([model], shape)[0] != "compiled"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused(dtype):
    with pytest.raises(NotStackableError, match="precision"):
        compiled([nn.Linear(5, 3).to(dtype)], (5,))


def test_examples_in_another_precision_are_not_read_as_if_they_were_in_that_of_the_weights():
    fused, x = compiled([nn.Linear(5, 3)], (5,)), torch.randn(4, 5, dtype=torch.float64)
    with pytest.raises(AssertionError), fused.eval_mode():
        fused(x, shared=True)
    with pytest.raises(AssertionError), fused.eval_mode():
        fused.backend.score([x], torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("options", [{"channels_last": True}, {"autocast": torch.bfloat16}], ids=str)
def test_options_are_left_to_another_backend(options):
    fused = compiled([nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 3))], (1, 6, 6))
    assert fused.with_options(ComputeOptions(**options)).backend.name == "stacked"


def test_without_the_library_models_are_refused_and_one_line_says_so(monkeypatch):
    error = BuildError("no C++ compiler: small models train more slowly; install one")

    def refuse(scalar):  # noqa: ARG001
        raise error

    monkeypatch.setattr(compiled_module, "load", refuse)
    monkeypatch.setattr(build, "library_or_error", lambda scalar, source=None: error)
    model = nn.Linear(5, 3)
    assert select_backend([model], (5,)) == ("stacked", "")
    assert compiled_module.missing_library(model, (5,)) == str(error)
    assert compiled_module.missing_library(with_one_layer_twice(), (5,)) == "", "there is nothing that it misses"
    monkeypatch.setenv(build.SWITCH, "0")
    assert compiled_module.missing_library(model, (5,)) == "", "it is not wanted"


@pytest.mark.parametrize("target", targets.targets()[1:], ids=lambda target: target.name)
def test_narrower_vectors_compute_the_same(monkeypatch, target):
    if not set(target.features) <= targets.cpu_features():
        pytest.skip("this machine has no such instructions")
    monkeypatch.setattr(build, "best_target", lambda: target)
    libraries = {scalar: build.open_library(scalar) for scalar in build.SCALARS}
    assert all(library.target == target for library in libraries.values())
    monkeypatch.setattr(compiled_module, "load", lambda scalar: libraries[scalar].handle)
    for name, (shape, layers) in CHAINS.items():
        for batch in (1, 5, 11):
            models = unlike_copies(nn.Sequential(*layers()), 2, seed=len(name))
            assert_trains_and_evaluates_as_the_modules(models, shape, batch, seed=batch)
    for seed in range(30):
        model, shape = a_chain(random.Random(seed))
        assert_trains_and_evaluates_as_the_modules(unlike_copies(model, 2, seed), shape, BATCHES[seed % 17], seed)
    for name in WHOLE_NUMBERS:
        for batch in (1, 5, 17):
            assert_exact_in_single_precision(name, batch)
