"""The loss of every model: what is minimised, and what is reported."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def cross_entropy(
    out: Float[Tensor, "M K N"], y: Tensor, batch_size: int | float | None = None
) -> tuple[Float[Tensor, "M"], Float[Tensor, "M K N"]]:
    """The mean cross-entropy of each model, and its gradient: softmax less one for the right class, over N.

    Where these are part of more examples: the sums over the part, divided by how many there are `of` all.
    """
    batch_size = out.shape[2] if batch_size is None else batch_size
    logs = F.log_softmax(out, 1)
    right = y.expand(len(out), -1).unsqueeze(1)
    losses = logs.gather(1, right).sum((1, 2)).neg_().div_(batch_size)
    less = _less_by_mask if logs.is_cuda else _less_by_index
    return losses, less(logs.exp_(), right).div_(batch_size)


def _less_by_index(shares: Float[Tensor, "M K N"], right: Int[Tensor, "M 1 N"]) -> Tensor:
    """The shares less one for the right class, in place; on a CPU the faster way."""
    return shares.scatter_add_(1, right, shares.new_full((), -1.0).expand(right.shape))


def _less_by_mask(shares: Float[Tensor, "M K N"], right: Int[Tensor, "M 1 N"]) -> Tensor:
    """The same to the bit; on a GPU the faster way, where scattering has to sort to be deterministic."""
    classes = torch.arange(shares.shape[1], device=shares.device).unsqueeze(1)
    return shares.add_(classes == right, alpha=-1)


def per_example_loss(out: Float[Tensor, "M K N"], y: Tensor) -> Float[Tensor, "M N"]:
    """Cross-entropy of every example, for labels "M N" or for labels "N" that all models share."""
    return F.cross_entropy(out, y.expand(len(out), -1), reduction="none")
