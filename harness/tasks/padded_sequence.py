"""Sequences of unlike lengths: positions whose target is IGNORED count in no loss and in no metric.

As with torch's `cross_entropy(..., ignore_index=-100)`, the loss of a batch or of a split is the mean over positions
that count. An example's is the sum over these, divided by how many positions it has in all: examples are worth so many
of a whole one.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from harness.data.targets import IGNORED
from harness.nn.losses import cross_entropy, precise_dtype
from harness.tasks.classification import log_frequencies
from harness.tasks.sequence import SEQUENCE, labels_of_positions
from harness.tasks.task import Sums


def _worth(y: Int[Tensor, "M L N"]) -> Float[Tensor, "M"]:
    return (y != IGNORED).sum((1, 2)).to(precise_dtype(y.device)) / y.shape[1]


def _position_losses(out: Float[Tensor, "M K P"], labels: Int[Tensor, "M P"]) -> Float[Tensor, "M P"]:
    return F.cross_entropy(out, labels.expand(len(out), -1), reduction="none", ignore_index=IGNORED)


def _example_losses(out: Float[Tensor, "M K P"], y: Int[Tensor, "M L N"]) -> Float[Tensor, "M N"]:
    return _position_losses(out, labels_of_positions(y)).view(len(out), y.shape[-1], y.shape[1]).mean(2)


def _loss_and_gradient(out: Tensor, y: Tensor, batch_size: float | Tensor) -> tuple[Tensor, Tensor]:
    labels = labels_of_positions(y)
    is_ignored = labels == IGNORED
    _, grad = cross_entropy(out, labels.masked_fill(is_ignored, 0), 1)
    grad.masked_fill_(is_ignored.unsqueeze(1), 0)
    positions = torch.as_tensor(batch_size, device=out.device).to(out.dtype) * y.shape[1]
    return _position_losses(out, labels).sum(1) / positions, grad.div_(positions.view(-1, 1, 1))


def _metrics(sums: Sums, loss: Tensor, y: Tensor) -> dict[str, Tensor]:
    positions = (y != IGNORED).sum((1, 2))
    return {"accuracy": sums["accuracy"].to(loss.dtype) / positions, "perplexity": loss.exp()}


def _guess(y: Tensor, classes: int) -> Float[Tensor, "K"]:
    return log_frequencies(y[y != IGNORED], classes)


PADDED_SEQUENCE = replace(
    SEQUENCE,
    example_losses=_example_losses,
    loss_and_gradient=_loss_and_gradient,
    worth=_worth,
    metrics=_metrics,  # an ignored position is no right answer, for no class is called so
    guess=_guess,
)
