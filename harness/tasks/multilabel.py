"""Several labels: each example has some of K labels, and outputs are the logits of having them.

The loss is the binary cross-entropy, the mean over the labels; a label is predicted where its logit is above zero. F1
is the mean over the labels of scikit-learn's, which is 0 for a label that is neither there nor predicted.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from harness.tasks.regression import mean_of_targets
from harness.tasks.task import Sums, Task


def binary_cross_entropies(out: Float[Tensor, "M K N"], y: Tensor) -> Float[Tensor, "M N"]:
    """The binary cross-entropy of each example, the mean over its labels."""
    return mean_of_targets(_losses(_log_shares(out), y))


def binary_cross_entropy(
    out: Float[Tensor, "M K N"], y: Tensor, batch_size: float
) -> tuple[Float[Tensor, "M"], Float[Tensor, "M K N"]]:
    """The mean binary cross-entropy of each model, and its gradient."""
    log_shares = _log_shares(out)
    losses = mean_of_targets(_losses(log_shares, y)).sum(1).div_(batch_size)
    return losses, log_shares[:, 1].exp().sub_(y).div_(out.shape[1] * batch_size)


def _log_shares(out: Float[Tensor, "M K N"]) -> Float[Tensor, "M 2 K N"]:
    """The logarithms of the probabilities of not having a label, and of having it.

    They are a softmax of two: torch computes the last numbers of a sigmoid by other code, so that a model's bits would
    depend on how many there are.
    """
    return F.log_softmax(torch.stack([torch.zeros_like(out), out], 1), 1)


def _losses(log_shares: Float[Tensor, "M 2 K N"], y: Tensor) -> Float[Tensor, "M K N"]:
    return -(log_shares[:, 0] * (1 - y) + log_shares[:, 1] * y)


def _sums(out: Tensor, y: Tensor) -> Sums:
    predicted, actual = out > 0, (y > 0).expand(out.shape)
    correct = predicted == actual
    return {
        "hits": (predicted & actual).sum(2),
        "named": predicted.sum(2) + actual.sum(2),
        "correct": correct.sum((1, 2)),
        "exact": correct.all(1).sum(1),
    }


def _metrics(sums: Sums, loss: Tensor, y: Tensor) -> dict[str, Tensor]:
    labels, examples = y.shape[1:]
    hits, named = (sums[name].to(loss.dtype) for name in ("hits", "named"))
    return {
        "f1": (2 * hits / named.clamp_min(1)).mean(1),
        "label_accuracy": sums["correct"].to(loss.dtype) / (labels * examples),
        "exact_match": sums["exact"].to(loss.dtype) / examples,
    }


def _logits_of_frequencies(y: Tensor, outputs: int) -> Tensor:  # noqa: ARG001
    """A label that all examples have, or none, counts as missing, or there, in half of one."""
    examples = y.shape[-1]
    return torch.logit(y[0].double().sum(1).clamp(0.5, examples - 0.5) / examples)


MULTILABEL = Task(
    example_losses=binary_cross_entropies,
    loss_and_gradient=binary_cross_entropy,
    sums=_sums,
    metrics=_metrics,
    guess=_logits_of_frequencies,
    predict=lambda out: (out > 0).to(torch.int64),
    probabilities=lambda out: out.double().sigmoid(),
)
