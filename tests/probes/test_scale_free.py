"""A layer is scale-free where doubling its weights and biases changes no output, and only there."""

import pytest
import torch
from torch import nn

from harness.nn.models import build
from harness.nn.module_state import to_precision
from harness.probes.layers import layers_of
from tests.support.strategies import a_trial

EPS = 1e-12  # of norms: what is left of scale otherwise is theirs
IMAGES, SIGNALS = (2, 6, 4), (5, 3)


class Shared(nn.Module):
    """A layer that a norm follows where it runs first, and a sum where it runs again."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm, self.last = nn.Linear(12, 12), nn.LayerNorm(12, EPS), nn.Linear(12, 3)

    def forward(self, x):
        x = x.flatten(1)[:, :12]
        return self.last(x + self.layer(torch.relu(self.norm(self.layer(x)))))


class Read(nn.Module):
    """A layer whose output a norm reads, and a skip connection too."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm, self.last = nn.Linear(12, 12), nn.LayerNorm(12, EPS), nn.Linear(12, 3)

    def forward(self, x):
        x = self.layer(x.flatten(1)[:, :12])
        return self.last(x + torch.relu(self.norm(x)))


class Pooled(nn.Sequential):
    """What lies between a layer and its norm keeps scale: pooling, another order of dimensions."""

    def __init__(self):
        pooled = (nn.Conv2d(2, 4, 3), nn.MaxPool2d(2), nn.Flatten(2), nn.BatchNorm1d(4, EPS), nn.ReLU(), nn.Flatten())
        super().__init__(*pooled, nn.Linear(8, 3))


OWN = {"Shared": Shared, "Read": Read, "Pooled": Pooled}
CASES = {  # model, norm, other settings -> how many of its layers are scale-free
    ("mlp-6x2", "none"): 0,
    ("mlp-6x2", "layer"): 2,
    ("mlp-6x2", "dyt"): 0,
    ("cnn-4-6", "batch"): 2,
    ("resnet-8x1", "batch"): 7,
    ("resmlp-6x2", "rms"): 5,
    ("vit-8x2", "layer"): 0,
    ("vit-8x2", "layer", "post"): 0,
    ("vit-8x2", "rms", "pre", True): 0,
    ("transformer-8x1", "layer"): 0,
    ("Shared", "none"): 0,
    ("Read", "none"): 0,
    ("Pooled", "none"): 1,
}


def model_of(model, norm, norm_position="pre", qk_norm=False):
    settings = {"norm_position": norm_position, "qk_norm": qk_norm, "norm_groups": 2, "norm_eps": EPS, "batch_size": 8}
    inputs = SIGNALS if model.startswith("transformer") else IMAGES
    trial = a_trial(model=model, norm=norm, **settings)
    return to_precision(build(trial, inputs, 3, OWN), torch.float64), inputs


@pytest.mark.parametrize("case", CASES, ids=str)
def test_doubling_a_layer_changes_an_output_unless_it_is_scale_free(case):
    model, inputs = model_of(*case)
    for weight in model.parameters():  # nothing starts as zero that hides a branch
        weight.data.add_(torch.randn_like(weight), alpha=0.1)
    model.train()
    x = torch.randn(7, *inputs, dtype=torch.float64)
    expected = model(x)
    layers = layers_of(model, inputs)
    for layer in layers:
        tensors = [*model.get_submodule(layer.name).parameters()]
        for tensor in tensors:
            tensor.data.mul_(2)
        changed = not torch.allclose(model(x), expected, rtol=0, atol=1e-7)
        assert layer.is_scale_free != changed, layer.name
        for tensor in tensors:
            tensor.data.div_(2)
    assert sum(layer.is_scale_free for layer in layers) == CASES[case]
