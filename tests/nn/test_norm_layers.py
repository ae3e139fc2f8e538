"""Norms that torch lacks against the formulas of their papers in numpy: outputs, gradients and statistics."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from harness.errors import SuiteError
from harness.nn.models import build
from harness.nn.norm_layers.batch_renorm import BatchRenorm
from harness.nn.norm_layers.dynamic_tanh import DynamicTanh
from harness.nn.norm_layers.evonorm import EvoNormS0
from harness.nn.norm_layers.filter_response_norm import FilterResponseNorm
from harness.nn.norm_layers.scaled_weights import GAINS, SCALED, scaled
from harness.nn.norms import norm_of, norm_parameters
from tests.support.strategies import a_trial

N, C, EPS = 5, 4, 0.03
PIXELS = {"vectors": (), "signals": (3,), "images": (2, 3)}


def dynamic_tanh(x, alpha, weight, bias):
    """Zhu et al. 2025, equation 1."""
    return weight * np.tanh(alpha * x) + bias


def filter_response_norm(x, weight, bias, threshold):
    """Singh & Krishnan 2020, equations 1 to 3."""
    mean_square = (x**2).mean(axis=tuple(range(2, x.ndim)), keepdims=True)
    return np.maximum(weight * x / np.sqrt(mean_square + EPS) + bias, threshold)


def evonorm_s0(x, v, weight, bias):
    """Liu et al. 2020, table 2, with two groups."""
    groups = x.reshape(len(x), 2, -1)
    deviation = np.sqrt(groups.var(axis=2, keepdims=True) + EPS)
    deviation = np.broadcast_to(deviation, groups.shape).reshape(x.shape)
    return x / (1 + np.exp(-v * x)) / deviation * weight + bias


LAYERS = {
    "dyt": (lambda affine: DynamicTanh(C, affine), dynamic_tanh, {"alpha": 0.5, "weight": 1.0, "bias": 0.0}),
    "frn": (
        lambda affine: FilterResponseNorm(C, EPS, affine),
        filter_response_norm,
        {"weight": 1.0, "bias": 0.0, "threshold": 0.0},
    ),
    "evonorm_s0": (lambda affine: EvoNormS0(2, C, EPS, affine), evonorm_s0, {"v": 1.0, "weight": 1.0, "bias": 0.0}),
}


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape) + 0.3


def assert_gradients(layer, x, formula, parameters):
    """Outputs, and gradients of a weighted sum of them, as differences of the formula give them."""
    inputs = torch.from_numpy(x).requires_grad_()
    out = layer(inputs)
    np.testing.assert_allclose(out.detach().numpy(), formula(x, **parameters), rtol=1e-10)
    noise = drawn(*x.shape, seed=9)
    (out * torch.from_numpy(noise)).sum().backward()
    grads = {"x": inputs.grad, **{name: weight.grad for name, weight in layer.named_parameters()}}
    for name, grad in grads.items():
        values = {"x": x, **parameters}
        expected = np.zeros(values[name].size)
        for i in range(values[name].size):
            step = np.zeros(values[name].size)
            step[i] = 1e-6
            sides = [
                (noise * formula(**{**values, name: values[name] + sign * step.reshape(values[name].shape)})).sum()
                for sign in (1, -1)
            ]
            expected[i] = (sides[0] - sides[1]) / 2e-6
        np.testing.assert_allclose(grad.flatten().numpy(), expected, rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("pixels", PIXELS)
@pytest.mark.parametrize("norm", LAYERS)
def test_a_layer_and_its_gradients_are_what_its_paper_says(norm, pixels, affine):
    if norm == "frn" and pixels == "vectors":
        pytest.skip("it needs pixels")
    make, formula, initial = LAYERS[norm]
    layer, per_channel = make(affine).double(), (C, *[1] * len(PIXELS[pixels]))
    trained = dict(layer.named_parameters())
    assert {name: set(weight.tolist()) for name, weight in trained.items()} == {n: {initial[n]} for n in trained}
    parameters = {name: np.full(per_channel, value) for name, value in initial.items()}
    for seed, name in enumerate(trained):
        values = drawn(len(trained[name]), seed=seed + 1)
        trained[name].data = torch.from_numpy(values)
        parameters[name] = values if len(values) == 1 else values.reshape(per_channel)
    assert_gradients(layer, drawn(N, C, *PIXELS[pixels]), formula, parameters)
    x = torch.from_numpy(drawn(N, C, *PIXELS[pixels]))
    torch.testing.assert_close(layer.eval()(x), layer.train()(x), rtol=0, atol=0)


@pytest.mark.parametrize("pixels", PIXELS)
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("momentum", [0.3, None])
def test_batch_renorm_is_algorithm_1_of_its_paper(pixels, affine, momentum):
    """Over batches as the bounds widen: outputs, gradients with r and d as constants, and the running statistics."""
    rmax, dmax, warmup = 1.4, 0.5, 2
    layer = BatchRenorm(C, eps=EPS, momentum=momentum, affine=affine, rmax=rmax, dmax=dmax, warmup_batches=warmup)
    layer, shape = layer.double(), (C, *[1] * len(PIXELS[pixels]))
    axes = (0, *range(2, len(shape) + 1))
    parameters = {"weight": np.ones(shape), "bias": np.zeros(shape)}
    if affine:
        parameters = {name: drawn(*shape, seed=seed) for seed, name in enumerate(parameters)}
        layer.load_state_dict({n: torch.from_numpy(v.reshape(C)) for n, v in parameters.items()}, strict=False)
    mean, deviation, bounded = np.zeros(shape), np.sqrt(np.ones(shape) + EPS), []
    for step in range(20):
        x = 3 * drawn(N, C, *PIXELS[pixels], seed=step + 20) + step % 3
        # Section 4 of the paper, in multiples of the batches of plain batch norm: r from 1 to 8, d from 1 to 5.
        largest_r = 1 + (rmax - 1) * np.clip((step / warmup - 1) / 7, 0, 1)
        largest_d = dmax * np.clip((step / warmup - 1) / 4, 0, 1)
        batch_mean = x.mean(axes).reshape(shape)
        batch_deviation = np.sqrt(x.var(axes).reshape(shape) + EPS)
        r = np.clip(batch_deviation / deviation, 1 / largest_r, largest_r)
        d = np.clip((batch_mean - mean) / deviation, -largest_d, largest_d)
        bounded += [(np.abs(d) < largest_d).mean(), (r < largest_r).mean()]

        def formula(x, weight, bias, r=r, d=d):
            batch = (x - x.mean(axes).reshape(shape)) / np.sqrt(x.var(axes).reshape(shape) + EPS)
            return weight * (batch * r + d) + bias

        layer.zero_grad()
        assert_gradients(layer, x, formula, parameters)
        share = 1 / (step + 1) if momentum is None else momentum
        mean = mean + share * (batch_mean - mean)
        deviation = deviation + share * (batch_deviation - deviation)
        np.testing.assert_allclose(layer.running_mean.numpy(), mean.reshape(C), rtol=1e-10)
        np.testing.assert_allclose(layer.running_var.numpy() + EPS, deviation.reshape(C) ** 2, rtol=1e-10)
        assert layer.num_batches_tracked == step + 1
    assert 0 < np.mean(bounded) < 1, "the bounds are never reached, or always"
    x = drawn(N, C, *PIXELS[pixels])
    expected = parameters["weight"] * (x - mean) / deviation + parameters["bias"]
    np.testing.assert_allclose(layer.eval()(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-10)


def test_batch_renorm_without_room_for_correction_is_batch_norm():
    one, other = BatchRenorm(C, rmax=1.0, dmax=0.0, warmup_batches=0), nn.BatchNorm1d(C)
    x = torch.from_numpy(drawn(N, C)).float()
    torch.testing.assert_close(one(x), other(x))


def test_scaled_weights_are_what_the_paper_says_with_their_gradients():
    """Brock et al. 2021a, equation 4: mean 0, and a deviation of gain over the root of the fan-in."""
    weight, gain, factor = drawn(4, 3, 2), drawn(4, seed=1), 1.7

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.from_numpy(gain))

        def forward(self, weight):
            return scaled(weight, self.gain, factor)

    def formula(x, gain):
        mean, var = (moment.reshape(4, 1, 1) for moment in (x.mean((1, 2)), x.var((1, 2))))
        return factor * gain.reshape(4, 1, 1) * (x - mean) / np.sqrt(var * 6)

    assert_gradients(Layer(), weight, formula, {"gain": gain})


@pytest.mark.parametrize("kind", SCALED, ids=lambda kind: kind.__name__)
def test_a_scaled_layer_is_the_plain_one_with_scaled_weights(kind):
    plain = kind(*((4, 6) if kind is nn.Linear else (4, 6, 3)), bias=True).double()
    layer = SCALED[kind](*((4, 6) if kind is nn.Linear else (4, 6, 3))).double()
    layer.factor, layer.gain = 1.3, nn.Parameter(torch.from_numpy(drawn(6)))
    layer.load_state_dict({**plain.state_dict(), "gain": layer.gain.detach()})
    plain.weight.data = scaled(plain.weight.data, layer.gain.detach(), 1.3)
    x = torch.from_numpy(drawn(N, 4, *{nn.Linear: (), nn.Conv1d: (7,), nn.Conv2d: (7, 5)}[kind]))
    torch.testing.assert_close(layer(x), plain(x))


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_the_gain_of_an_activation_brings_the_variance_of_normal_numbers_back_to_one(activation):
    x, function = torch.randn(10**6, generator=torch.Generator().manual_seed(0)).double(), getattr(torch, activation)
    assert GAINS[activation] ** 2 * function(x).var().item() == pytest.approx(1, rel=5e-3)


def test_all_layers_but_the_last_are_scaled_and_start_as_they_would_without():
    trial = a_trial(norm="scaled_ws", model="cnn-4-6", activation="tanh")
    model, plain = (build(t, (1, 8, 8), 3, {}) for t in (trial, replace(trial, norm="none")))
    kinds = [type(layer).__name__ for layer in model.modules() if hasattr(layer, "weight")]
    assert kinds == ["ScaledConv2d", "ScaledConv2d", "Linear"]
    gains = {name for name in model.state_dict() if name.endswith("gain")}
    assert gains == norm_parameters(model) == model.state_dict().keys() - plain.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in plain.state_dict().items())
    # What they are for: neither scale nor mean of the weights matters.
    x = torch.randn(2, 1, 8, 8)
    before = model(x)
    model[0].weight.data.mul_(3.0).add_(0.2)
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("norm", "activations"), [("frn", 0), ("evonorm_s0", 0), ("dyt", 2), ("batch_renorm", 2)])
def test_a_norm_with_an_activation_of_its_own_takes_the_place_of_the_models(norm, activations):
    model = build(a_trial(norm=norm, norm_groups=2, model="cnn-4-6"), (1, 8, 8), 3, {})
    assert sum(isinstance(layer, nn.ReLU) for layer in model.modules()) == activations


def test_frn_of_vectors_is_refused_with_what_to_do():
    with pytest.raises(SuiteError, match=r"frn needs pixels .* use a cnn"):
        build(a_trial(norm="frn"), (64,), 3, {})


@pytest.mark.parametrize("norm", ["dyt", "evonorm_s0", "frn", "batch_renorm"])
def test_with_channels_last_a_sequence_is_normed_as_channels_first_or_each_position_by_itself(norm):
    make = norm_of(a_trial(norm=norm, norm_groups=2), {})
    first, last = make(C, spatial_dims=1).double(), make(C, channels_last=True).double()
    x = torch.from_numpy(drawn(N, 3, C))
    found = last(x)
    if norm == "evonorm_s0":
        torch.testing.assert_close(found, make(C).double()(x.flatten(0, 1)).view(x.shape))
    else:
        torch.testing.assert_close(found, first(x.mT).mT)
