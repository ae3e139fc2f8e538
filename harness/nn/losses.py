"""The loss of every model: what is minimised, and what is reported."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def cross_entropy(
    out: Float[Tensor, "M K N"], y: Tensor, batch_size: int | float | None = None
) -> tuple[Float[Tensor, "M"], Float[Tensor, "M K N"]]:
    """The mean cross-entropy of each model, and its gradient: softmax less one for the right class, over N.

    Where these are part of a batch of `batch_size` examples: the sums over the part, divided by the batch size.
    """
    batch_size = out.shape[2] if batch_size is None else batch_size
    # "M K N"
    log_probs = F.log_softmax(out, 1)
    # "N" or "M N" -> "M 1 N"
    labels = y.expand(len(out), -1).unsqueeze(1)
    losses = log_probs.gather(1, labels).sum((1, 2)).neg_().div_(batch_size)
    subtract_one_hot = _subtract_by_mask if log_probs.is_cuda else _subtract_by_index
    return losses, subtract_one_hot(log_probs.exp_(), labels).div_(batch_size)


def _subtract_by_index(probs: Float[Tensor, "M K N"], labels: Int[Tensor, "M 1 N"]) -> Tensor:
    """The probabilities less one for the right class, in place; on a CPU the faster way."""
    return probs.scatter_add_(1, labels, probs.new_full((), -1.0).expand(labels.shape))


def _subtract_by_mask(probs: Float[Tensor, "M K N"], labels: Int[Tensor, "M 1 N"]) -> Tensor:
    """The same to the bit; on a GPU the faster way, where scattering has to sort to be deterministic."""
    # "K 1" against "M 1 N"
    classes = torch.arange(probs.shape[1], device=probs.device).unsqueeze(1)
    return probs.add_(classes == labels, alpha=-1)


def per_example_loss(out: Float[Tensor, "M K N"], y: Tensor) -> Float[Tensor, "M N"]:
    """Cross-entropy of every example, for labels "M N" or for labels "N" that all models share."""
    return F.cross_entropy(out, y.expand(len(out), -1), reduction="none")


def precise_dtype(device: torch.device) -> torch.dtype:
    """The type of sums and results: Apple's devices have no double precision."""
    return torch.float32 if device.type == "mps" else torch.float64
