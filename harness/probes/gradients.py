"""How large gradients are, layer by layer, and how they grow on their way back."""

import torch
from jaxtyping import Float
from torch import Tensor

from harness.probes.context import ProbeContext, Values, losses_and_gradients, norm

MIN_LAYERS = 3  # layers of one shape in a row that have a growth


def gradient_norms(context: ProbeContext) -> Values:
    """The Euclidean norm of the gradient of the loss by each layer's weights, and by what its square grows.

    `gradient_growth` is the factor from a layer to the one before it, fitted over the longest row of layers whose
    weights have one shape (in a net of hidden layers of one width, all but the first and the last).
    """
    _, grads = losses_and_gradients(context.copy(), context.batch)
    norms = torch.stack([norm(grads[f"{layer.name}.weight"]) for layer in context.layers])
    found = {f"gradient_norm/{i}": value for i, value in enumerate(norms, 1)}
    first, end = longest_row([tuple(grads[f"{layer.name}.weight"].shape) for layer in context.layers])
    return {**found, "gradient_growth": growth(norms[first:end].double())}


def longest_row(shapes: list[tuple[int, ...]]) -> tuple[int, int]:
    """Where the longest row of equal shapes begins, and where it has ended."""
    starts = [i for i, shape in enumerate(shapes) if i == 0 or shape != shapes[i - 1]]
    rows = list(zip(starts, [*starts[1:], len(shapes)], strict=True))
    return max(rows, key=lambda row: row[1] - row[0])


def growth(norms: Float[Tensor, "L M"]) -> Float[Tensor, "M"]:
    """exp of the slope by which log norms^2 rise towards the first layer; NaN for fewer layers than FEWEST."""
    if len(norms) < MIN_LAYERS:
        return torch.full_like(norms[0], torch.nan)
    place = torch.arange(len(norms), dtype=norms.dtype, device=norms.device)
    place -= place.mean()
    slope = place @ norms.square().log() / place.square().sum()
    return torch.exp(-slope)
