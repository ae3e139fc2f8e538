"""Stacked layers against the plain modules that they stand for, and what happens where they can't stand for them."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.ensemble import backend_choice
from harness.ensemble.backend_choice import select_backend
from harness.ensemble.backends import BACKENDS, compiled, compiled_network, stacked_layers
from harness.ensemble.backends.standardise import standardise
from harness.ensemble.ensemble import fuse
from harness.nn.layers import STANDARDISED, RMSNorm, StandardisedLinear

CPU = torch.device("cpu")


def several(make, count=3):
    """Models of one kind whose weights differ."""
    models = []
    for seed in range(count):
        torch.manual_seed(seed)
        models.append(make())
    return models


@st.composite
def layers_of_vectors(draw):
    """A net of vectors: what it is made with, so that it can be made again."""
    sizes = draw(st.lists(st.sampled_from([4, 6, 8]), min_size=1, max_size=3))
    layers, features = [], 5
    for size in sizes:
        kind = draw(st.sampled_from([nn.Linear, StandardisedLinear]))
        layers.append((kind, (features, size), {"bias": draw(st.booleans())}))
        affine = draw(st.booleans())
        layers += draw(
            st.sampled_from(
                [
                    [],
                    [(nn.BatchNorm1d, (size,), {"affine": affine, "momentum": draw(st.sampled_from([0.2, None]))})],
                    [(nn.BatchNorm1d, (size,), {"track_running_stats": False})],
                    [(nn.LayerNorm, (size,), {"elementwise_affine": affine})],
                    [(nn.LayerNorm, (size,), {"bias": False})],
                    [(nn.GroupNorm, (2, size), {"affine": affine})],
                    [(RMSNorm, (size, 1e-3, affine), {})],
                ]
            )
        )
        layers.append((draw(st.sampled_from([nn.ReLU, nn.Tanh, nn.Identity, nn.GELU])), (), {}))
        layers += draw(st.sampled_from([[], [(nn.Dropout, (0.4,), {})]]))
        features = size
    return layers, (5,)


@st.composite
def layers_of_pixels(draw):
    """A net of signals or of images."""
    dims = draw(st.sampled_from([1, 2]))
    conv, batch, instance, pool, mean = {
        1: (nn.Conv1d, nn.BatchNorm1d, nn.InstanceNorm1d, nn.MaxPool1d, nn.AdaptiveAvgPool1d),
        2: (nn.Conv2d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d),
    }[dims]
    inputs = (2, 9, 7)[: 1 + dims]
    layers, channels = [], 2
    for size in draw(st.lists(st.sampled_from([4, 6]), min_size=1, max_size=2)):
        shape = {
            "padding": draw(st.sampled_from([1, 2])),
            "stride": draw(st.sampled_from([1, 2])),
            "bias": draw(st.booleans()),
        }
        kind = draw(st.sampled_from([conv, STANDARDISED[conv]]))
        layers.append((kind, (channels, size, 3), {**shape, "groups": draw(st.sampled_from([1, 2]))}))
        affine = draw(st.booleans())
        norms = [(batch, (size,), {"affine": affine}), (instance, (size,), {"affine": affine})]
        norms += [(nn.GroupNorm, (2, size), {"affine": affine}), (RMSNorm, (size, 1e-3, affine), {})]
        layers += [draw(st.sampled_from(norms)), (nn.ReLU, (), {})]
        layers += draw(st.sampled_from([[], [(pool, (2,), {"ceil_mode": True})]]))
        channels = size
    layers += [(mean, (2,), {}), (nn.Flatten, (), {}), (nn.Linear, (channels * 2**dims, 3), {})]
    return layers, inputs


@given(st.one_of(layers_of_vectors(), layers_of_pixels()))
@settings(max_examples=60)
def test_any_net_of_known_layers_is_stacked_and_does_what_its_models_do_alone(net):
    layers, inputs = net

    def make() -> nn.Module:
        return nn.Sequential(*(kind(*args, **options) for kind, args, options in layers))

    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patched:
        others = {name: backend for name, backend in BACKENDS.items() if name != "compiled"}
        patched.setattr(backend_choice, "BACKENDS", others)
        assert select_backend(several(make), inputs) == ("stacked", "")


@pytest.mark.parametrize(
    ("inputs", "examples", "models"), [((4, 5), 5, 2), ((4, 5), 6, 2), ((8, 5), 6, 2), ((12, 5), 7, 3)]
)
@pytest.mark.parametrize("shared", [True, False])
def test_what_a_layer_makes_of_examples_is_not_mistaken_for_them(inputs, examples, models, shared):
    """Also where C features of N examples, or the C channels of M models, are as many as examples have numbers."""

    def make() -> nn.Module:
        vectors = [nn.Flatten(), nn.Linear(20, 4), nn.GroupNorm(2, 4), nn.Linear(4, 3)]
        pixels = [nn.Conv1d(inputs[0], 4, 3, padding=1), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(20, 3)]
        return nn.Sequential(*(vectors if inputs[0] == 4 else pixels)).double()

    x = torch.randn(examples, *(() if shared else (models,)), *inputs, dtype=torch.float64)
    stacked, expected = (
        fuse(several(make, models), inputs, CPU, backend)(x, shared=shared) for backend in ("stacked", "loop")
    )
    torch.testing.assert_close(stacked, expected)


@st.composite
def rows(draw):
    """Nets of vectors, in any order, whose layers are all compiled."""
    layers, features = [(nn.Flatten, (), {})] * draw(st.booleans()), 6
    inputs = (2, 3) if layers else (6,)
    for size in draw(st.lists(st.sampled_from([3, 4, 7]), max_size=3)):
        layers.append((nn.Linear, (features, size), {"bias": draw(st.booleans())}))
        options = {"affine": draw(st.booleans()), "momentum": draw(st.sampled_from([0.3, None]))}
        norm = (nn.BatchNorm1d, (size,), {**options, "track_running_stats": draw(st.booleans())})
        activation = (draw(st.sampled_from([*compiled_network.FUNCTIONS, nn.Identity])), (), {})
        layers += draw(st.lists(st.sampled_from([norm, activation]), max_size=3))
        features = size
    return [*layers, (nn.Linear, (features, 3), {})], inputs


@given(rows())
@settings(max_examples=60)
def test_any_row_of_linear_layers_batch_norms_and_activations_is_compiled_and_does_what_its_models_do_alone(net):
    layers, inputs = net

    def make() -> nn.Module:
        return nn.Sequential(nn.Sequential(*(kind(*args, **options) for kind, args, options in layers)))

    assert select_backend(several(make), inputs) == ("compiled", "")


def test_compiled_code_is_chosen_where_a_norm_or_an_activation_comes_first_or_twice():
    for layers in [(nn.ReLU(),), (nn.BatchNorm1d(5),), (nn.Tanh(), nn.Tanh()), (nn.ReLU(), nn.BatchNorm1d(5))]:
        first = [] if len(layers) == 1 else [nn.Linear(5, 5)]
        net = nn.Sequential(*first, *layers, nn.Linear(5, 3))
        assert select_backend(several(partial(deepcopy, net)), (5,)) == ("compiled", "")


@pytest.mark.parametrize(
    ("layer", "field", "change"),
    [
        (1, "eps", lambda eps: eps + 1e-6),  # what it computes
        (1, "momentum", lambda momentum: momentum * 1.000001),  # the running statistics
        (3, "is_norm_free_bias", lambda _: 1),  # the gradient of the bias
    ],
)
def test_compiled_code_that_is_wrong_is_found_out_and_not_used(layer, field, change, monkeypatch):
    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))

    assert select_backend(several(make), (5,))[0] == "compiled"

    def wrong(*args):
        network = compiled_network.network_of(*args)
        struct = network.struct.layers[layer]
        setattr(struct, field, change(getattr(struct, field)))
        return network

    monkeypatch.setattr(compiled, "network_of", wrong)
    assert select_backend(several(make), (5,))[0] == "stacked"


@pytest.mark.parametrize("device", ["cuda", "mps", "meta"])
def test_on_another_device_compiled_code_is_not_chosen(device):
    models = several(lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)))
    assert select_backend(models, (5,), torch.device(device)) == ("stacked", "")


def a_net(norm=nn.BatchNorm1d):
    return nn.Sequential(nn.Linear(5, 4), norm(4), nn.GELU(), nn.Linear(4, 3))


@pytest.mark.parametrize("layer", [nn.Linear, nn.BatchNorm1d], ids=lambda layer: layer.__name__)
def test_a_stacked_layer_that_is_wrong_is_found_out_and_not_used(layer, monkeypatch):
    right = stacked_layers.LAYERS[layer]
    monkeypatch.setitem(stacked_layers.LAYERS, layer, lambda call, x: right(call, x) * 1.000001)
    backend, reason = select_backend(several(a_net), (5,))
    assert backend == "vmap"
    assert "is not that of the model alone" in reason


def test_running_statistics_that_are_wrong_are_found_out_though_training_does_not_show_them(monkeypatch):
    right = stacked_layers.LAYERS[nn.BatchNorm1d]

    def forgetful(call: stacked_layers.call.LayerCall, x: Tensor) -> Tensor:
        before = call.tensors["running_var"].clone()
        out = right(call, x)
        call.tensors["running_var"].copy_(before)
        return out

    monkeypatch.setitem(stacked_layers.LAYERS, nn.BatchNorm1d, forgetful)
    assert select_backend(several(a_net), (5,))[0] == "vmap"


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class FlatInCode(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 2, 3), nn.Linear(2 * 3 * 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.flatten(self.conv(x), 1))


class Choosing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) if x.sum().item() > 0 else self.b(x)


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def tied() -> nn.Module:
    one, two = nn.Linear(5, 5), nn.Linear(5, 5)
    two.weight = one.weight
    return nn.Sequential(one, nn.ReLU(), two)


@pytest.mark.parametrize(
    ("make", "inputs", "backend", "reason"),
    [
        (lambda: nn.Sequential(nn.Linear(5, 4), Residual(), Residual(), nn.Linear(4, 3)), (5,), "stacked", ""),
        (FlatInCode, (1, 5, 4), "vmap", "code between the layers reshapes"),
        (lambda: nn.Sequential(Own(), nn.Linear(5, 3)), (5,), "vmap", "Own is not among the layers"),
        (tied, (5,), "vmap", "belongs to two layers"),
        (lambda: nn.Sequential(nn.Linear(5, 4), nn.Flatten(), nn.Linear(8, 3)), (2, 5), "stacked", ""),
        (
            lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding_mode="reflect", padding=1), nn.Flatten()),
            (1, 5, 4),
            "vmap",
            "pads with reflect",
        ),
        (Choosing, (5,), "loop", "torch.vmap doesn't cover it: RuntimeError"),
    ],
)
def test_a_model_takes_the_fastest_backend_that_it_can_and_the_others_say_why_not(make, inputs, backend, reason):
    selected, why = select_backend(several(make), inputs)
    assert selected == backend
    assert reason in why
    assert "\n" not in why


def test_dropout_is_drawn_for_each_model_also_where_the_examples_are_shared():
    stack = fuse(several(lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 3))), (5,), CPU, "stacked")
    with torch.no_grad():
        for weight in stack.weights.values():
            weight.copy_(weight[:1].expand_as(weight).clone())  # models that are the same but for what they draw
        stack.seed_draws([1, 2, 3])
        one, two, three = stack(torch.ones(40, 5), shared=True)
    assert not torch.equal(one, two)
    assert not torch.equal(two, three)


def test_the_probe_changes_nothing_of_the_models():
    models = several(a_net)
    before = [{name: value.clone() for name, value in model.state_dict().items()} for model in models]
    select_backend(models, (5,))
    for model, kept in zip(models, before, strict=True):
        assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())


def test_a_stacked_norm_can_be_differentiated_twice():
    x = torch.randn(3, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    check = {"check_undefined_grad": False}
    assert torch.autograd.gradcheck(lambda x: standardise(x, 0.01), x, **check)
    assert torch.autograd.gradgradcheck(lambda x: standardise(x, 0.01), x, **check)
