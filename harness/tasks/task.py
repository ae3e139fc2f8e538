"""What a task is, and how its outputs and targets lie.

Outputs are "M K P": M models, K outputs, and P examples, or positions of examples where each has a label. Targets are
"N" where an example has one label, or "M N", each model's own; else "1 T N", T of each example, or "M T N".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

Sums = Mapping[str, Tensor]  # name -> "M ...": of each model, summed over examples


def examples_of(y: Tensor) -> int:
    """How many examples these are the targets of."""
    return y.shape[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What training and evaluation have to know of a kind of targets."""

    # The loss of each example, "M N", and its mean for each model with the gradient, "M" and "M K P". Where examples
    # are part of a batch of `batch_size`: the sum of their losses over that, which is of the type that `worth` gives.
    example_losses: Callable[[Tensor, Tensor], Tensor]  # outputs, targets
    loss_and_gradient: Callable[[Tensor, Tensor, Any], tuple[Tensor, Tensor]]  # outputs, targets, batch size
    # What the metrics of a split are made from; and these, "M", from the sums, the mean losses "M" and all targets.
    sums: Callable[[Tensor, Tensor], Sums]
    metrics: Callable[[Sums, Tensor, Tensor], dict[str, Tensor]]
    guess: Callable[[Tensor, int], Float[Tensor, "K"]]  # training targets, K -> the best output without examples
    predict: Callable[[Tensor], Tensor]  # outputs of a model "P K" -> what it predicts, as targets lie
    probabilities: Callable[[Tensor], Tensor] | None = None  # likewise; None where it gives none
    # How many examples targets are worth: their number, or "M" where some positions don't count.
    worth: Callable[[Tensor], int | Tensor] = examples_of


def targets_of(y: Tensor, model: int) -> Tensor:
    """The targets of one model as a plain loss takes them: labels "P", or numbers "N T"."""
    if y.ndim == 1:
        return y
    if y.ndim == 2:
        return y[model]
    # "T N" -> "N T"
    own = y[model if len(y) > 1 else 0].T
    return own if own.is_floating_point() else own.flatten()


def laid_out(y: Tensor) -> Tensor:
    """The targets of data, "N" or "N T", as training has them: "N", or "1 T N"."""
    return y if y.ndim == 1 else y.T.contiguous().unsqueeze(0)


def gather_targets(y: Tensor, indices: Int[Tensor, "M B"]) -> Tensor:
    """The targets of each model's examples, "M B" or "M T B", out of those that all models share or have each."""
    if y.ndim == 1:
        return y[indices]
    # "T M B" -> "M T B"
    return y.gather(1, indices) if y.ndim == 2 else y[0][:, indices].transpose(0, 1)
