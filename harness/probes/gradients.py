"""How large gradients are, layer by layer, and how they grow in backpropagation."""

import torch
from jaxtyping import Float
from torch import Tensor

from harness.probes.context import ProbeContext, Values, losses_and_gradients, norm

MIN_LAYERS = 3  # of one shape, one after the other, that a growth is fitted over


def gradient_norms(context: ProbeContext) -> Values:
    """The Euclidean norm of the gradient with respect to each layer's weights, and the factor that its square grows by.

    `gradient_growth` is the factor from a layer to the one before it, fitted over the longest run of layers whose
    weights have one shape (in a net of hidden layers of one width, all but the first and the last).
    """
    _, grads = losses_and_gradients(context.copy(), context.batch, context.objective)
    # "L M"
    norms = torch.stack([norm(grads[layer.weight]) for layer in context.layers])
    start, stop = longest_run([tuple(grads[layer.weight].shape) for layer in context.layers])
    values = {f"gradient_norm/{i}": value for i, value in enumerate(norms, 1)}
    return {**values, "gradient_growth": growth(norms[start:stop].double())}


def longest_run(shapes: list[tuple[int, ...]]) -> tuple[int, int]:
    """Start and stop of the longest run of equal shapes."""
    starts = [i for i, shape in enumerate(shapes) if i == 0 or shape != shapes[i - 1]]
    runs = list(zip(starts, [*starts[1:], len(shapes)], strict=True))
    return max(runs, key=lambda run: run[1] - run[0])


def growth(norms: Float[Tensor, "L M"]) -> Float[Tensor, "M"]:
    """exp of the slope by which log norms^2 rise towards the first layer; NaN for fewer than MIN_LAYERS."""
    if len(norms) < MIN_LAYERS:
        return torch.full_like(norms[0], torch.nan)
    depth = torch.arange(len(norms), dtype=norms.dtype, device=norms.device)
    depth -= depth.mean()
    # Least squares: "L" @ "L M"
    slope = depth @ norms.square().log() / depth.square().sum()
    return torch.exp(-slope)
