"""Every entry of the table of norms is whole: what each part is for holds for every norm."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.nn.init import WEIGHTED
from harness.nn.models import build
from harness.nn.norms import NORMS, norm_parameters
from harness.nn.sequences.layers import LSTMLayer, Positions
from harness.spec.trial import BATCH_NORMS
from tests.support.pairs import INPUTS, SMALL, fits
from tests.support.strategies import a_trial

PAIRS = [(norm, family) for norm in NORMS for family in SMALL if fits(norm, family)]


def model_with(norm, family):
    return build(a_trial(model=SMALL[family], norm=norm, norm_groups=1, batch_size=8), INPUTS[family], 2, {})


@pytest.mark.parametrize("norm", NORMS)
def test_a_norm_goes_with_some_family(norm):
    assert norm in dict(PAIRS)


@pytest.mark.parametrize(("norm", "family"), PAIRS)
def test_all_parameters_but_those_of_weighted_layers_are_known_to_be_the_norms(norm, family):
    """Else weight decay would not leave them alone where it should: forget `custom_layers`, and this fails."""
    model = model_with(norm, family)
    weighted = (*WEIGHTED, LSTMLayer, Positions, NORMS[norm].residual_scale or ())
    layers = [(name, layer) for name, layer in model.named_modules() if not isinstance(layer, weighted)]
    others = {f"{name}.{own}" for name, layer in layers for own, _ in layer.named_parameters(recurse=False)}
    gains = {name for name, _ in model.named_parameters() if name.endswith(".gain")}
    assert norm_parameters(model) == others | gains
    assert bool(gains) == (norm == "scaled_ws")


@pytest.mark.parametrize("norm", NORMS)
def test_the_norms_whose_statistics_are_those_of_a_batch_are_the_batch_norms(norm):
    family = dict(PAIRS)[norm]
    has_batch_norm = any(isinstance(layer, _BatchNorm) for layer in model_with(norm, family).modules())
    assert has_batch_norm == (norm in BATCH_NORMS)


@pytest.mark.parametrize(("norm", "family"), PAIRS)
def test_building_a_norm_draws_nothing(norm, family):
    def weights(model):
        return [layer.weight for layer in model.modules() if isinstance(layer, WEIGHTED)]

    for mine, theirs in zip(weights(model_with(norm, family)), weights(model_with("none", family)), strict=True):
        assert torch.equal(mine, theirs)


def test_a_norm_of_torch_that_only_a_suite_uses_is_known_too():
    model = nn.Sequential(nn.Linear(3, 4), nn.RMSNorm(4), nn.InstanceNorm1d(4, affine=True), nn.Linear(4, 2))
    assert norm_parameters(model) == {"1.weight", "2.weight", "2.bias"}
