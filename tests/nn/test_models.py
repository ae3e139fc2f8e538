"""The families against what their papers say of them, and at their real size."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.data.datasets import Dataset
from harness.errors import SuiteError
from harness.nn.layers import ResidualScale, Shortcut
from harness.nn.models import MODELS, build
from harness.nn.norms import NORMS
from harness.nn.residual import Block
from harness.spec.trial import Trial
from harness.training.loop import train
from harness.training.state import init_state
from tests.support.pairs import INPUTS, SMALL, fits

CIFAR = (3, 32, 32)
BASE = Trial(dataset="cifar", model="resnet-20", norm="batch", lr=0.1, batch_size=4, steps=2, init="he", device="cpu")


def model_of(name, inputs=CIFAR, classes=10, **changes):
    return build(replace(BASE, model=name, **changes), inputs, classes, {})


def parameters(model):
    return sum(weight.numel() for weight in model.parameters())


def some_images():
    rng = np.random.default_rng(0)
    sizes = {"train": 8, "val": 3, "test": 5}
    return Dataset(
        name="cifar",
        x={split: rng.standard_normal((size, *CIFAR), dtype=np.float32) for split, size in sizes.items()},
        y={split: np.arange(size) % 10 for split, size in sizes.items()},
        classes=10,
    )


@pytest.mark.parametrize("family", MODELS)
def test_the_tiny_model_of_a_family_is_one_of_its_names_and_small(family):
    assert 0 < parameters(model_of(SMALL[family], inputs=INPUTS[family])) < 10_000


@pytest.mark.parametrize(
    ("name", "millions", "exact"),
    [("resnet-20", 0.27, 269_722), ("resnet-56", 0.85, 853_018), ("resnet-110", 1.7, 1_727_962)],
)
def test_resnets_have_the_parameters_of_the_paper(name, millions, exact):
    count = parameters(model_of(name))
    assert count == exact
    assert count / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize(("name", "convolutions"), [("vgg-11", 8), ("vgg-13", 10), ("vgg-16", 13), ("vgg-19", 16)])
def test_vggs_have_the_layers_of_the_paper(name, convolutions):
    model = model_of(name)
    layers = [layer for layer in model if isinstance(layer, nn.Conv2d)]
    assert len(layers) == convolutions
    assert [layers[0].out_channels, layers[-1].out_channels] == [64, 512]
    expected = sum(9 * layer.in_channels * layer.out_channels + 2 * layer.out_channels for layer in layers)
    assert parameters(model) == expected + 512 * 10 + 10
    assert model(torch.zeros(2, *CIFAR)).shape == (2, 10)


def test_a_resnet_has_three_stages_that_halve_the_image():
    shapes = []
    model = model_of("resnet-20", classes=7)
    for layer in model:
        if isinstance(layer, Block):
            layer.register_forward_hook(lambda module, given, out: shapes.append(tuple(out.shape[1:])))
    assert model(torch.zeros(2, *CIFAR)).shape == (2, 7)
    assert shapes == [(16, 32, 32)] * 3 + [(32, 16, 16)] * 3 + [(64, 8, 8)] * 3


def test_a_shortcut_without_weights_keeps_every_other_pixel_and_adds_channels_of_zeros():
    x = torch.randn(2, 3, 5, 7)
    out = Shortcut(2, 4)(x)
    assert out.shape == (2, 7, 3, 4)
    assert torch.equal(out[:, :3], x[:, :, [0, 2, 4]][..., [0, 2, 4, 6]])
    assert not out[:, 3:].any()


def forward_by_hand(model, widths):
    """The net of these convolutions (None: where a VGG pools; negative: the first of a resnet's block) in functions."""
    convolutions = iter([layer for layer in model.modules() if isinstance(layer, nn.Conv2d)])
    linear = list(model)[-1]

    def layer(x, stride=1):
        out = F.conv2d(x, next(convolutions).weight, stride=stride, padding=1)
        return F.batch_norm(out, None, None, training=True)

    def forward(x):
        for width in widths:
            if width is None:
                x = F.max_pool2d(x, 2)
            elif width > 0:
                x = layer(x).relu()
            else:
                added = -width - x.shape[1]
                shortcut = F.pad(x[..., ::2, ::2], (0, 0, 0, 0, 0, added)) if added else x
                x = (layer(layer(x, 2 if added else 1).relu()) + shortcut).relu()
        return F.linear(x.mean((2, 3)), linear.weight, linear.bias)

    return forward


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("resnet-20", (16, *[-16] * 3, *[-32] * 3, *[-64] * 3)),
        ("vgg-11", (64, None, 128, None, 256, 256, None, 512, 512, None, 512, 512, None)),
    ],
)
def test_image_models_compute_what_their_papers_write(name, widths):
    model, x = model_of(name).double(), torch.randn(5, *CIFAR, dtype=torch.float64)
    torch.testing.assert_close(model(x), forward_by_hand(model, widths)(x))


@pytest.mark.parametrize("name", ["resnet-20", "resnet-56", "resnet-110", "vgg-11", "vgg-16", "cnn-32-64-128"])
def test_an_image_model_of_real_size_trains_on_a_cpu(name):
    state = init_state([replace(BASE, model=name, augment="flip+crop")], some_images(), torch.device("cpu"), {})
    assert [event.kind for event in train(state)].count("train") == 2
    assert state.batch_loss.isfinite().all()


@pytest.mark.parametrize("family", ["resnet", "vgg", "resmlp"])
def test_arms_of_one_seed_start_from_the_same_weights(family):
    """Also by torch's own init, which draws biases."""
    models = [
        model_of(SMALL[family], norm=norm, init=init, norm_groups=2)
        for norm in NORMS
        for init in ["default"]
        if fits(norm, family)
    ]
    weights = [[m.weight for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)] for model in models]
    for mine in weights[1:]:
        assert all(torch.equal(one, other) for one, other in zip(mine, weights[0], strict=True))


@pytest.mark.parametrize(
    ("norm", "affine", "biased"),
    [
        ("none", True, True),
        ("batch", True, False),
        ("batch", False, True),
        ("rms", True, True),
        ("skipinit", True, True),
    ],
)
def test_a_convolution_has_a_bias_where_its_norm_has_no_shift(norm, affine, biased):
    model = model_of(SMALL["resnet"], norm=norm, norm_affine=affine, init="default")
    biases = [layer.bias for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert all((bias is not None) == biased for bias in biases)
    assert not any(bias.any() for bias in biases if bias is not None)


def test_with_skipinit_every_block_is_its_shortcut_at_first_and_has_one_parameter_more():
    model, plain = (model_of("resnet-20", norm=norm) for norm in ("skipinit", "none"))
    assert parameters(model) == parameters(plain) + 9
    block = next(layer for layer in model if isinstance(layer, Block))
    x = torch.randn(2, 16, 6, 5)
    assert torch.equal(block(x), x.relu())
    nn.init.ones_(next(layer for layer in block.modules() if isinstance(layer, ResidualScale)).weight)
    assert not torch.equal(block(x), x.relu())
    model(torch.randn(4, *CIFAR)).sum().backward()
    scales = [layer.weight.grad for layer in model.modules() if isinstance(layer, ResidualScale)]
    assert all(grad.abs() > 0 for grad in scales)


def test_a_residual_mlp_has_two_layers_a_block_and_one_where_the_width_changes():
    model = model_of("resmlp-12x3-5", inputs=(4, 2))
    sizes = [(layer.in_features, layer.out_features) for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert sizes == [(8, 12), *[(12, 12)] * 6, (12, 5), *[(5, 5)] * 2, (5, 10)]
    assert model(torch.zeros(3, 4, 2)).shape == (3, 10)


def test_a_cnn_of_signals_is_one_of_images_a_pixel_high():
    signals, images = model_of("cnn-4-6", inputs=(2, 11)), model_of("cnn-4-6", inputs=(2, 3, 11))
    assert [type(layer) for layer in signals[:4]] == [nn.Conv1d, nn.BatchNorm1d, nn.ReLU, nn.MaxPool1d]
    assert signals(torch.zeros(5, 2, 11)).shape == (5, 10)
    x = torch.randn(5, 2, 11)
    wide = images[0]
    wide.weight.data.zero_()
    wide.weight.data[:, :, 1] = signals[0].weight
    torch.testing.assert_close(signals[0](x), wide(x.unsqueeze(2))[:, :, 0])


@pytest.mark.parametrize("name", ["resnet-8", "vgg-11", "cnn-4", "vit-8"])
def test_vectors_are_refused_by_models_of_images(name):
    with pytest.raises(SuiteError, match=r"needs .*images"):
        model_of(name, inputs=(5,))
