"""Regression: each example has K numbers, and outputs are what they are thought to be. The loss is the squared error.

Metrics are those of scikit-learn, the mean over the targets: of R squared, 1 less the share of variance that is left.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from harness.nn.losses import precise_dtype
from harness.tasks.task import Sums, Task


def squared_errors(out: Float[Tensor, "M K N"], y: Tensor) -> Float[Tensor, "M N"]:
    """The squared error of each example, the mean over its targets."""
    return mean_of_targets((out - y).square())


def squared_error(
    out: Float[Tensor, "M K N"], y: Tensor, batch_size: float
) -> tuple[Float[Tensor, "M"], Float[Tensor, "M K N"]]:
    """The mean squared error of each model, and its gradient."""
    losses = squared_errors(out, y).sum(1).div_(batch_size)
    return losses, (out - y).mul_(2 / (out.shape[1] * batch_size))


def mean_of_targets(errors: Float[Tensor, "M K N"]) -> Float[Tensor, "M N"]:
    """Added up one after the other: the order in which `mean` adds depends on how many models there are."""
    first, *others = errors.unbind(1)
    total = first.clone()
    for other in others:
        total = total + other
    return total / errors.shape[1]


def _sums(out: Tensor, y: Tensor) -> Sums:
    errors = (out - y).to(precise_dtype(out.device)).contiguous()
    return {"squared": errors.square().sum(2), "absolute": errors.abs().sum(2)}


def _metrics(sums: Sums, loss: Tensor, y: Tensor) -> dict[str, Tensor]:
    examples, targets = y.shape[-1], y[0].to(loss.dtype)
    total = (targets - targets.mean(1, keepdim=True)).square().sum(1)
    left = sums["squared"].to(loss.dtype)
    r2 = torch.where(total > 0, 1 - left / total, (left == 0).to(loss.dtype))
    return {
        "rmse": (left / examples).sqrt().mean(1),
        "mae": (sums["absolute"].to(loss.dtype) / examples).mean(1),
        "r2": r2.mean(1),
    }


def _mean(y: Tensor, outputs: int) -> Tensor:  # noqa: ARG001
    return y[0].double().mean(1)


REGRESSION = Task(
    example_losses=squared_errors,
    loss_and_gradient=squared_error,
    sums=_sums,
    metrics=_metrics,
    guess=_mean,
    predict=lambda out: out,
)
