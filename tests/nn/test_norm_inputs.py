"""Norms go over the dimension that the model means: checked against torch's own layers, refused where it is another."""

import pytest
import torch
from torch import nn

from harness.errors import SuiteError
from harness.nn.norm_inputs import check_norm_inputs
from harness.nn.norms import NORMS, norm_of
from tests.support.strategies import a_trial

N, L, C = 6, 5, 4
OF_PIXELS = ("instance", "frn")
NAMES = [name for name in NORMS if name not in ("none", "skipinit", "scaled_ws")]


def norm(name, *args, **kwargs):
    ghosts = {"norm_batch": 3} if name == "ghost_batch" else {}
    return norm_of(a_trial(norm=name, norm_groups=2, batch_size=N, **ghosts), {})(*args, **kwargs)


def sequences(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def with_weights(layer):
    """Scales and shifts that differ from channel to channel."""
    for parameter in layer.parameters():
        parameter.data.copy_(torch.linspace(0.5, 2, len(parameter)) if len(parameter) > 1 else torch.tensor(0.5))
    return layer


def instance_over_positions(x):
    mean, var = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    return (x - mean) / (var + 1e-5).sqrt()


def evonorm_of_positions(x):
    pairs = x.reshape(*x.shape[:-1], 2, 2)
    deviations = (pairs.var(-1, correction=0, keepdim=True) + 1e-5).sqrt().expand_as(pairs).reshape(x.shape)
    return x * torch.sigmoid(SCALE * x) / deviations * SCALE + SCALE


SCALE = torch.linspace(0.5, 2, C)
RIGHT = {  # what each norm makes of "N L C", by torch's functions
    "layer": lambda x: nn.functional.layer_norm(x, (C,), SCALE, SCALE),
    "rms": lambda x: nn.functional.rms_norm(x, (C,), SCALE, 1e-5),
    "group": lambda x: nn.functional.group_norm(x.reshape(-1, C), 2, SCALE, SCALE).view_as(x),
    "batch": lambda x: nn.functional.batch_norm(x.reshape(-1, C), None, None, SCALE, SCALE, True).view_as(x),
    "instance": lambda x: instance_over_positions(x) * SCALE + SCALE,
}
RIGHT |= {
    "batch_renorm": lambda x: x * SCALE / (1 + 1e-5) ** 0.5 + SCALE,  # not bounded: by the running statistics, 0 and 1
    "dyt": lambda x: torch.tanh(0.5 * x) * SCALE + SCALE,
    "frn": lambda x: torch.maximum(x / (x.square().mean(1, keepdim=True) + 1e-5).sqrt() * SCALE + SCALE, SCALE),
    "evonorm_s0": lambda x: evonorm_of_positions(x),
}
RIGHT["ws_batch"], RIGHT["ws_group"], RIGHT["sync_batch"] = RIGHT["batch"], RIGHT["group"], RIGHT["batch"]
RIGHT["ghost_batch"] = lambda x: torch.cat([RIGHT["batch"](x[:3]), RIGHT["batch"](x[3:])])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(N, L, C), (N, C, C), (N, 3, L, C)])
def test_with_channels_last_a_norm_goes_over_the_last_dimension(name, shape):
    x = sequences(*shape)
    layer = with_weights(norm(name, C, spatial_dims=len(shape) - 2, channels_last=True))
    right = RIGHT[name](x.flatten(1, -2)).view_as(x)
    torch.testing.assert_close(layer(x), right)


def test_a_norm_over_each_position_does_not_look_at_others():
    x = sequences(N, C, C)
    for name in ("layer", "rms", "group", "dyt", "evonorm_s0"):
        layer, other = norm(name, C, channels_last=True), x.clone()
        other[:, 1:] = 9.0
        assert torch.equal(layer(x)[:, 0], layer(other)[:, 0])


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_of_vectors_both_are_the_same(name, channels_last):
    if name in OF_PIXELS:
        return
    layer = norm(name, C, spatial_dims=0, channels_last=channels_last)
    assert type(layer) is type(norm(name, C))


class Sequences(nn.Module):
    """Of examples "N L C", as a transformer has them."""

    def __init__(self, layer):
        super().__init__()
        self.first, self.last = layer, nn.Linear(C, 2)

    def forward(self, x):
        return self.last(self.first(x).mean(1))


@pytest.mark.parametrize("name", [name for name in NORMS if name not in OF_PIXELS])
def test_a_norm_of_vectors_is_refused_for_sequences_whatever_their_sizes(name):
    """With as many positions as channels, torch would take either for the other."""
    layer = norm(name, C)
    with pytest.raises(SuiteError) as caught:
        check_norm_inputs(Sequences(layer), "net", sequences(2, C, C))
    assert str(caught.value) == (
        "model 'net': layer 'first' is norm(4), for (examples, channels), and gets (2, 4, 4): write norm(4, "
        "spatial_dims=1) where channels come first, (examples, channels, positions) or norm(4, channels_last=True) "
        "where they come last, (examples, positions, channels)"
    )


@pytest.mark.parametrize(
    ("options", "shape", "said"),
    [
        ({"spatial_dims": 1}, (2, L, C), "write norm(4, channels_last=True) where they come last"),
        ({"channels_last": True}, (2, C, L), "write norm(4, spatial_dims=1) where channels come first"),
        ({"channels_last": True}, (2, 3, L, C), "write norm(4, spatial_dims=2, channels_last=True) where they"),
        ({"spatial_dims": 2}, (2, C), "write norm(4)"),
        ({}, (2, 3), "gets (2, 3): write norm(3)"),
        ({}, (2, 3, 3, 3, C), "reshape it"),
    ],
)
def test_the_refusal_says_what_to_write(options, shape, said):
    with pytest.raises(SuiteError) as caught:
        check_norm_inputs(nn.Sequential(norm("layer", C, **options)), "net", torch.zeros(shape))
    assert said in str(caught.value)


def test_what_fits_is_taken_and_the_model_left_as_it_is():
    model = Sequences(norm("batch", C, channels_last=True))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    check_norm_inputs(model, "net", sequences(3, L, C))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(layer._forward_pre_hooks for layer in model.modules())


def test_any_other_error_of_the_model_is_left_to_others():
    model = Sequences(norm("batch", C, channels_last=True))
    model.last = nn.Linear(C + 1, 2)
    check_norm_inputs(model, "net", sequences(3, L, C))


@pytest.mark.parametrize("spatial_dims", [3, -1, True])
def test_other_spatial_dims_are_refused(spatial_dims):
    with pytest.raises(SuiteError, match=r"spatial_dims of a norm must be 0, 1 or 2, got"):
        norm("layer", C, spatial_dims=spatial_dims)
