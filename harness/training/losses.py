"""The loss of every model: what is minimised, and what is reported."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def cross_entropy(
    out: Float[Tensor, "M K N"], y: Tensor, of: int | float | None = None
) -> tuple[Float[Tensor, "M"], Float[Tensor, "M K N"]]:
    """The mean cross-entropy of each model, and its gradient: softmax less one for the right class, over N.

    Where these are part of more examples: the sums over the part, divided by how many there are `of` all.
    """
    of = out.shape[2] if of is None else of
    logs = F.log_softmax(out, 1)
    right = y.expand(len(out), -1).unsqueeze(1)
    losses = logs.gather(1, right).sum((1, 2)).neg_().div_(of)
    grad = logs.exp_().scatter_add_(1, right, logs.new_tensor(-1.0).expand(right.shape))
    return losses, grad.div_(of)


def each_loss(out: Float[Tensor, "M K N"], y: Tensor) -> Float[Tensor, "M N"]:
    """Cross-entropy of every example, for labels "M N" or for labels "N" that all models share."""
    return F.cross_entropy(out, y.expand(len(out), -1), reduction="none")
