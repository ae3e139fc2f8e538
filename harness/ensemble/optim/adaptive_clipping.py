"""Adaptive gradient clipping: gradients are at most a share of the weights that they move (Brock et al. 2021)."""

from collections.abc import Mapping, Set

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harness.nn.init import WEIGHTED

WEIGHT_FLOOR = 1e-3  # the least that a norm of weights counts as, so that weights of zero can move: the paper's
GRAD_FLOOR = 1e-6  # what norms of gradients are divided by at least, as the authors' code has it


def head_parameters(model: nn.Module) -> frozenset[str]:
    """The names of the parameters of the last linear or convolution layer, which the paper leaves unclipped."""
    names = [name for name, layer in model.named_modules() if isinstance(layer, WEIGHTED)]
    last = model.get_submodule(names[-1]) if names else nn.Identity()
    return frozenset(f"{names[-1]}.{name}" if names[-1] else name for name, _ in last.named_parameters())


def adaptive_clip_grad(
    grads: Mapping[str, Tensor], weights: Mapping[str, Tensor], shares: Float[Tensor, "M"], head: Set[str]
) -> dict[str, Tensor]:
    """The gradients, scaled down unit by unit where their norm is above the model's share of that of the weights.

    A unit is what one output is computed by: a row of a matrix, a filter of a convolution, a whole vector or number.
    """
    return {name: grad if name in head else _clip(grad, weights[name], shares) for name, grad in grads.items()}


def _clip(grad: Tensor, weight: Tensor, shares: Float[Tensor, "M"]) -> Tensor:
    norms = [_unit_norms(tensor) for tensor in (grad, weight.detach())]
    limits = shares.unsqueeze(1).to(grad.dtype) * norms[1].clamp(min=WEIGHT_FLOOR)
    factor = (limits / norms[0].clamp(min=GRAD_FLOOR)).clamp(max=1.0)
    # Also where the gradient is infinite.
    factor = factor.masked_fill(shares.isinf().unsqueeze(1), 1.0)
    return grad * factor.view(*factor.shape, *[1] * (grad.ndim - 2)) if grad.ndim > 1 else grad * factor.squeeze(1)


def _unit_norms(tensor: Tensor) -> Tensor:
    """The norms of each unit, "M O", of weights "M O ..."; of vectors and numbers "M ..." there is one, "M 1"."""
    # "M O W"
    rows = tensor.flatten(2) if tensor.ndim > 2 else tensor.reshape(len(tensor), 1, -1)
    norms: Tensor = torch.linalg.vector_norm(rows, dim=2)
    return norms
