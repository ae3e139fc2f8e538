"""Learning rates: over how long a range an arm trains, and which one to choose."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class UsableRange:
    """Where on the log10 lr axis the interpolated accuracy of one seed reaches the target."""

    low: float  # learning rates; NaN where no lr reaches the target
    high: float
    decades: float  # gaps in between don't count
    low_seen: bool  # False: the lowest lr tried is still usable, so the edge lies somewhere below it
    high_seen: bool


def usable_range(lrs: Array, accuracy: Array, target: float) -> UsableRange:
    """The edges and the length of {lr: accuracy >= target}, accuracy interpolated linearly over log10 lr.

    A length whose edge was not seen is a lower bound. A missing accuracy is an error: score failures first.
    """
    if np.isnan(accuracy).any():
        raise ValueError("accuracy holds NaN; failed trials are scored before their range is taken")
    order = np.argsort(lrs)
    x, y = np.log10(lrs[order]), accuracy[order]
    usable = y >= target
    pieces = [(x[i], x[i]) for i in np.flatnonzero(usable)]
    for i in range(len(x) - 1):
        if usable[i] and usable[i + 1]:
            pieces.append((x[i], x[i + 1]))
        elif usable[i] != usable[i + 1]:
            crossing = x[i] + (x[i + 1] - x[i]) * (target - y[i]) / (y[i + 1] - y[i])
            pieces.append((x[i], crossing) if usable[i] else (crossing, x[i + 1]))
    if not pieces:
        return UsableRange(math.nan, math.nan, 0.0, low_seen=True, high_seen=True)
    return UsableRange(
        low=float(10 ** min(start for start, _ in pieces)),
        high=float(10 ** max(end for _, end in pieces)),
        decades=float(sum(end - start for start, end in pieces)),
        low_seen=not usable[0],
        high_seen=not usable[-1],
    )


def lr_sensitivity(losses: Array, initial_loss: float) -> float:
    """How much loss a random lr of the grid costs against the best: E[min(l, l0) - l*] (Wortsman et al. 2023).

    A missing loss, a run that diverged, counts as the loss at initialisation.
    """
    capped = np.fmin(losses, initial_loss)
    return float(np.mean(capped) - np.min(capped))


def cross_fitted(validation: Array, test: Array) -> Array:
    """Per seed its test score at the lr that the OTHER seeds' mean validation score would choose.

    Both are [seed, lr], higher is better. Choosing on the scored seed, or on test data, would flatter. A missing
    validation score never wins.
    """
    if len(validation) < 2:
        raise ValueError("an lr is chosen by the other seeds, of which there are none")
    known = np.where(np.isnan(validation), -np.inf, validation)
    chosen = [int(np.argmax(np.delete(known, seed, axis=0).mean(axis=0))) for seed in range(len(known))]
    return test[np.arange(len(test)), chosen]
