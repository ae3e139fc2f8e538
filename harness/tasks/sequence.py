"""Sequences: each position of an example is of one of K classes, as the next token of a text is.

It is classification of all positions: the loss of an example is the mean over its positions.
"""

from dataclasses import replace

from jaxtyping import Float, Int
from torch import Tensor

from harness.nn.losses import cross_entropy, per_example_loss
from harness.tasks.classification import CLASSIFICATION, right_answers
from harness.tasks.task import Sums


def position_losses(out: Float[Tensor, "M K P"], y: Tensor) -> Float[Tensor, "M N"]:
    """The cross-entropy of each example, the mean over its positions."""
    losses = per_example_loss(out, labels_of_positions(y))
    return losses.view(len(out), y.shape[-1], y.shape[1]).mean(2)


def labels_of_positions(y: Int[Tensor, "M L N"]) -> Int[Tensor, "M P"]:
    """The labels in the order of the outputs: example by example."""
    return y.transpose(1, 2).flatten(1)


def _loss_and_gradient(out: Tensor, y: Tensor, batch_size: float) -> tuple[Tensor, Tensor]:
    return cross_entropy(out, labels_of_positions(y), batch_size * y.shape[1])


def _sums(out: Tensor, y: Tensor) -> Sums:
    return right_answers(out, labels_of_positions(y))


def _metrics(sums: Sums, loss: Tensor, y: Tensor) -> dict[str, Tensor]:
    positions = y.shape[1] * y.shape[2]
    return {"accuracy": sums["accuracy"].to(loss.dtype) / positions, "perplexity": loss.exp()}


SEQUENCE = replace(
    CLASSIFICATION,
    example_losses=position_losses,
    loss_and_gradient=_loss_and_gradient,
    sums=_sums,
    metrics=_metrics,
)
