"""Weights start as their papers say, times the scale that a trial asks for."""

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from harness.nn.init import INITS, initialise
from tests.support.alone import BASE

SCALE = 3.0
NETS = {  # layer -> the numbers that reach one of its outputs, and that one of its inputs reaches
    nn.Linear(300, 200): (300, 200),
    nn.Conv1d(40, 90, 5): (40 * 5, 90 * 5),
    nn.Conv2d(20, 70, (3, 5)): (20 * 15, 70 * 15),
    nn.Conv3d(12, 60, (3, 2, 3)): (12 * 18, 60 * 18),
}


@pytest.mark.parametrize("init", [name for name, fill in INITS.items() if fill is not None])
@pytest.mark.parametrize("layer", NETS, ids=lambda layer: type(layer).__name__)
def test_weights_have_the_deviation_of_their_paper_and_biases_are_zero(layer, init):
    layer, (fan_in, fan_out) = deepcopy(layer), NETS[layer]
    initialise(nn.Sequential(layer, nn.ReLU()), replace(BASE, init=init, init_scale=SCALE))
    expected = {"he": math.sqrt(2 / fan_in), "xavier": math.sqrt(2 / (fan_in + fan_out)), "normal": 1.0}[init]
    assert layer.weight.std().item() == pytest.approx(SCALE * expected, rel=0.03)
    assert layer.weight.mean().item() == pytest.approx(0, abs=0.03 * SCALE * expected)
    assert not layer.bias.any()


@pytest.mark.parametrize("layer", NETS, ids=lambda layer: type(layer).__name__)
def test_by_default_a_layer_is_as_torch_makes_it_but_for_the_scale_of_its_weights(layer):
    made = deepcopy(layer)
    initialise(made, replace(BASE, init="default", init_scale=SCALE))
    assert torch.equal(made.weight, SCALE * layer.weight)
    assert torch.equal(made.bias, layer.bias)


@pytest.mark.parametrize("init", INITS)
def test_weights_that_two_layers_share_are_scaled_once(init):
    first, second = nn.Linear(5, 5), nn.Linear(5, 5)
    second.weight = first.weight
    model = nn.Sequential(first, nn.ReLU(), second)
    plain = deepcopy(model)
    for net, scale in ((plain, 1.0), (model, SCALE)):
        initialise(net, replace(BASE, init=init, init_scale=scale))
    assert torch.equal(first.weight, SCALE * plain[0].weight)
