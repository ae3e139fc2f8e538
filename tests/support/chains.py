"""Chains of layers, drawn at random, and what compiled code makes of them beside the plain modules."""

import random
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from harness.ensemble.ensemble import Ensemble, fuse
from harness.nn.layers import RMSNorm
from tests.support.backends import CPU

BATCHES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 64, 65, 70]  # most of them around whole vectors
CHANNELS = [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 33, 40]
ACTIVATIONS = [nn.ReLU, nn.Tanh, nn.Sigmoid]
CONVOLUTIONS = [None, nn.Conv1d, nn.Conv2d]
POOLS = [None, nn.MaxPool1d, nn.MaxPool2d]


def a_norm(rng: random.Random, channels: int, pixels: list[int]) -> nn.Module:
    """A norm over that many channels and pixels."""
    affine, eps = rng.random() < 0.7, rng.choice([1e-5, 1e-3])
    batch_norm = nn.BatchNorm2d if len(pixels) == 2 else nn.BatchNorm1d
    groups = rng.choice([n for n in range(1, channels + 1) if channels % n == 0])
    momentum, tracks = rng.choice([0.1, 0.7, 0.0, 1.0, None]), rng.random() < 0.8
    norms = [
        partial(batch_norm, channels, eps, momentum, affine, tracks),
        partial(nn.GroupNorm, groups, channels, eps, affine),
        partial(RMSNorm, channels, eps, affine),
    ]
    if not pixels:
        norms.append(partial(nn.LayerNorm, channels, eps, affine))
    elif max(pixels) > 1:
        norms.append(partial([None, nn.InstanceNorm1d, nn.InstanceNorm2d][len(pixels)], channels, eps, affine=affine))
    return rng.choice(norms)()


def a_convolution(rng: random.Random, channels: int, pixels: list[int]) -> nn.Module:
    """A convolution that leaves a pixel at least."""
    padding = tuple(rng.randint(0, 3) for _ in pixels)
    kernel = tuple(rng.randint(1, min(5, side + 2 * pad)) for side, pad in zip(pixels, padding, strict=True))
    return CONVOLUTIONS[len(pixels)](
        channels, rng.choice(CHANNELS[:9]), kernel, padding=padding, bias=rng.random() < 0.7
    )


def a_chain(rng: random.Random) -> tuple[nn.Module, tuple[int, ...]]:
    """A chain that has a compiled form, and the shape of its examples."""
    dims = rng.choice([0, 0, 1, 2, 2])
    shape = (rng.choice(CHANNELS[:9] if dims else CHANNELS), *(rng.randint(1, 9 - 2 * dims) for _ in range(dims)))
    layers: list[nn.Module] = []
    x = torch.zeros(2, *shape)
    if dims and rng.random() < 0.2:
        layers.append(nn.Flatten())
        x = x.flatten(1)
    for _ in range(rng.randint(0, 5 if dims else 4)):
        channels, *pixels = x.shape[1:]
        kinds = ["norm", "activation", "linear or convolution", "linear or convolution", "pool", "identity"]
        kind = rng.choice(kinds)
        if kind == "norm":
            layer = a_norm(rng, channels, pixels)
        elif kind == "activation":
            layer = rng.choice(ACTIVATIONS)()
        elif kind == "identity":
            layer = nn.Identity()
        elif kind == "pool":
            kernel = tuple(rng.choice([1, 2, 3]) for _ in pixels)
            if not pixels or any(size > side for size, side in zip(kernel, pixels, strict=True)):
                continue
            layer = POOLS[len(pixels)](kernel if len(pixels) == 2 else kernel[0])
        elif pixels:
            layer = a_convolution(rng, channels, pixels)
        else:
            layer = nn.Linear(channels, rng.choice(CHANNELS), bias=rng.random() < 0.7)
        x = layer.eval()(x).detach()
        layers.append(layer)
    if x.ndim > 2:
        layers.append(nn.Flatten())
    layers.append(nn.Linear(x[0].numel(), rng.choice(CHANNELS[:10])))
    return nn.Sequential(*layers), shape


def unlike_copies(model: nn.Module, count: int, seed: int, dtype: torch.dtype = torch.float64) -> list[nn.Module]:
    """The model so many times, with numbers of each copy's own wherever it has parameters."""
    rng = torch.Generator().manual_seed(seed)
    copies = [deepcopy(model).to(dtype).train() for _ in range(count)]
    for weight in (weight for copy in copies for weight in copy.parameters()):
        weight.data.add_(torch.randn(weight.shape, generator=rng, dtype=dtype), alpha=0.2)
    return copies


def compiled(models: list[nn.Module], shape: tuple[int, ...]) -> Ensemble:
    return fuse(models, shape, CPU, "compiled")


def assert_close(actual: Tensor, expected: Tensor, what: str, tolerance: float) -> None:
    scale = max(1.0, expected.abs().max().item()) if expected.is_floating_point() else 0.0
    torch.testing.assert_close(
        actual.detach(),
        expected.detach(),
        rtol=0.0,
        atol=tolerance * scale,
        equal_nan=True,
        msg=lambda text: f"{what}: {text}",
    )


def assert_trains_and_evaluates_as_the_modules(
    models: list[nn.Module], shape: tuple[int, ...], batch: int, seed: int, tolerance: float = 1e-9
) -> None:
    """Outputs in training and evaluation, gradients, running statistics: of each model's own examples and shared ones.

    Nothing is compared where torch itself refuses, such as a batch norm of a single number.
    """
    fused, rng = compiled(models, shape), torch.Generator().manual_seed(seed)
    dtype = next(models[0].parameters()).dtype
    for shared in (False, True):
        own = () if shared else (len(models),)
        x = torch.randn(batch, *own, *shape, generator=rng, dtype=torch.float64).to(dtype)
        columns = [x if shared else x[:, i] for i in range(len(models))]
        for model in models:
            model.zero_grad()
        try:
            expected = torch.stack([model(x) for model, x in zip(models, columns, strict=True)])
        except ValueError:
            return
        weights = torch.randn(expected.shape, generator=rng, dtype=torch.float64).to(dtype)
        expected.backward(weights)
        out, grads = fused.gradients(
            x, shared=shared, loss_fn=lambda out, to=weights: (out.clone(), to.transpose(1, 2).contiguous())
        )
        assert_close(out.transpose(1, 2), expected, f"output, {shared=}", tolerance)
        largest = max(weight.grad.abs().max().item() for model in models for weight in model.parameters())
        for name, grad in grads.items():
            theirs = torch.stack([model.get_parameter(name).grad for model in models])
            assert_close(grad / largest, theirs / largest, f"gradient of {name}, {shared=}", tolerance)
        for name, buffer in fused.buffers.items():
            theirs = torch.stack([model.get_buffer(name) for model in models])
            assert_close(buffer, theirs, f"{name}, {shared=}", tolerance)
        with torch.no_grad(), fused.eval_mode():
            out = fused(x, shared=shared).transpose(1, 2)
            expected = torch.stack([model.eval()(x) for model, x in zip(models, columns, strict=True)])
        for model in models:
            model.train()
        assert_close(out, expected, f"output in evaluation, {shared=}", tolerance)
