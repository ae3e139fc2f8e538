"""Layers are found in the order in which they run, each with what stands behind it."""

import pytest
import torch
from torch import nn

from harness.probes import curve_names
from harness.probes.layers import layers_of, record_inputs


class Block(nn.Module):
    """A residual block whose one nonlinearity is used twice, written in another order than it runs."""

    def __init__(self, nonlinearity):
        super().__init__()
        self.act = nonlinearity
        self.second = nn.Conv1d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm1d(4)
        self.first = nn.Conv1d(4, 4, 3, padding=1, bias=False)

    def forward(self, x):
        return self.act(x + self.second(self.act(self.norm(self.first(x)))))


def facts(model, inputs):
    return [(layer.name, layer.norm, layer.nonlinearity is not None, layer.call) for layer in layers_of(model, inputs)]


def test_a_residual_net_is_read_as_it_runs():
    model = nn.Sequential(nn.Conv1d(2, 4, 1), Block(nn.Tanh()), nn.Flatten(), nn.Linear(20, 3))
    assert facts(model, (2, 5)) == [
        ("0", None, False, -1),
        ("1.first", "1.norm", True, 0),
        ("1.second", None, True, 1),
        ("3", None, False, -1),
    ]


def test_the_norm_before_the_first_layer_and_behind_the_nonlinearity_are_nobodys():
    model = nn.Sequential(nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 3))
    assert facts(model, (4,)) == [("2", None, True, 1), ("5", None, False, -1)]


def test_a_layer_that_runs_twice_counts_where_it_runs_first():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.Tanh(), nn.Linear(4, 3))
    assert facts(model, (4,)) == [("0", None, True, 0), ("4", None, False, -1)]


def test_a_weight_that_two_layers_share_counts_once_and_one_that_is_computed_does_not():
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(4)))
    model[2].weight = model[1].weight
    nn.utils.parametrizations.weight_norm(model[3])
    assert [layer.name for layer in layers_of(model, (3,))] == ["0", "1"]


def test_finding_layers_leaves_the_model_as_it_is():
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(inplace=True), nn.Linear(5, 3))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    layers_of(model, (4,))
    with record_inputs(model) as seen:
        model(torch.randn(7, 4))
    assert (seen[0] < 0).any(), "a nonlinearity that overwrites its input is seen before it does"
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(tensor, model.state_dict()[n]) for n, tensor in before.items() if "weight" in n)


@pytest.mark.parametrize(("kind", "has"), [(nn.ReLU, ["dead/1"]), (nn.Sigmoid, ["saturated/1"]), (nn.GELU, [])])
def test_only_what_can_be_lost_has_a_curve(kind, has):
    layers = layers_of(nn.Sequential(nn.Linear(4, 5), kind(), nn.Linear(5, 3)), (4,))
    found = curve_names(["activations"], layers)
    assert [name for name in found if name.partition("/")[0] in ("dead", "saturated")] == has
    assert "activation_mean/1" in found
    assert "activation_mean/2" not in found
