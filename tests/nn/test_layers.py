"""Layers of our own against their formulas, written out in numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from harness.ensemble.backend_choice import select_backend
from harness.nn.layers import STANDARDISED, RMSNorm, standardise_weights, standardised
from harness.nn.models import build
from harness.nn.norms import NORMS
from harness.spec.trial import Trial
from tests.support.pairs import fits

N, C = 5, 3
BASE = Trial(dataset="digits", model="mlp-6x2", lr=0.1, batch_size=7, steps=1, norm_groups=2)


def drawn(*shape):
    return np.random.default_rng(0).standard_normal(shape) + 0.7


@pytest.mark.parametrize("pixels", [(), (4,), (2, 6)], ids=["vectors", "signals", "images"])
@pytest.mark.parametrize("affine", [True, False])
def test_rms_norm_divides_an_example_by_its_root_mean_square(pixels, affine):
    x, layer = drawn(N, C, *pixels), RMSNorm(C, 0.3, affine).double()
    scale = np.ones(C)
    if affine:
        scale = drawn(C)
        layer.weight.data = torch.from_numpy(scale)
    expected = np.stack([e / np.sqrt((e**2).mean() + 0.3) * scale.reshape(C, *[1] * len(pixels)) for e in x])
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-12)


def test_rms_norm_of_vectors_is_that_of_torch():
    ours, theirs = RMSNorm(C, 1e-5, True).double(), nn.RMSNorm(C, 1e-5).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.from_numpy(drawn(N, C))
    torch.testing.assert_close(ours(x), theirs(x))


def test_rms_norm_takes_the_mean_in_single_precision_where_examples_have_half_of_it():
    x = torch.full((1, 4096), 0.1, dtype=torch.bfloat16)
    torch.testing.assert_close(RMSNorm(4096, 1e-12, False)(x), torch.ones_like(x))


def test_standardised_weights_have_mean_0_and_deviation_1_in_each_output_channel():
    weight = drawn(4, 3, 2, 5)
    expected = [(w - w.mean()) / np.sqrt(w.var() + 1e-5) for w in weight]
    np.testing.assert_allclose(standardised(torch.from_numpy(weight)).numpy(), np.stack(expected), rtol=1e-12)


@pytest.mark.parametrize("kind", STANDARDISED, ids=lambda kind: kind.__name__)
def test_a_standardised_layer_is_the_plain_one_with_standardised_weights(kind):
    sizes = (4, 6) if kind is nn.Linear else (4, 6, 3)
    layer, plain = STANDARDISED[kind](*sizes).double(), kind(*sizes).double()
    layer.weight.data = torch.from_numpy(drawn(*layer.weight.shape))
    plain.load_state_dict({"weight": standardised(layer.weight.detach()), "bias": layer.bias.detach()})
    x = torch.from_numpy(drawn(N, 4, *{nn.Linear: (), nn.Conv1d: (7,), nn.Conv2d: (7, 5)}[kind]))
    torch.testing.assert_close(layer(x), plain(x))
    # What weight standardisation is for: neither scale nor mean of the weights matters.
    before = layer(x)
    layer.weight.data.mul_(3.0).add_(0.2)
    torch.testing.assert_close(layer(x), before, rtol=1e-3, atol=1e-3)


def test_all_layers_but_the_last_are_standardised_and_start_as_they_would_without():
    trial = replace(BASE, norm="ws_group", model="cnn-4-6")
    model, plain = (build(t, (1, 8, 8), 3, {}) for t in (trial, replace(trial, norm="group")))
    kinds = [type(layer).__name__ for layer in model.modules() if hasattr(layer, "weight")]
    assert kinds == ["StandardisedConv2d", "GroupNorm", "StandardisedConv2d", "GroupNorm", "Linear"]
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_model_without_weights_has_none_to_standardise():
    standardise_weights(nn.Sequential(nn.ReLU()))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        ("mlp-6x2", (5,)),
        ("resmlp-6x2", (5,)),
        ("cnn-4-6", (1, 11)),
        ("cnn-4-6", (1, 6, 5)),
        ("resnet-8x2", (3, 6, 5)),
        ("vgg-11x2", (3, 32, 34)),
    ],
)
def test_every_norm_trains_compiled_or_stacked(norm, model, inputs):
    if not fits(norm, model):
        pytest.skip("it can't have this norm")
    models = [build(replace(BASE, norm=norm, model=model, seed=seed), inputs, 3, {}) for seed in range(3)]
    backend, reason = select_backend(models, inputs)
    assert backend in ("compiled", "stacked"), reason
