"""Over how long a range of learning rates an arm trains."""

import math
from dataclasses import dataclass

import numpy as np

from harness.analysis.stats.arrays import FloatArray


@dataclass(frozen=True, slots=True)
class UsableRange:
    """Where on the log10 lr axis the interpolated score of one seed reaches the target."""

    low: float  # learning rates; NaN where no lr reaches the target
    high: float
    decades: float  # gaps in between don't count
    low_seen: bool  # False: the lowest lr tried is still usable, so the edge lies somewhere below it
    high_seen: bool


def usable_range(lrs: FloatArray, scores: FloatArray, target: float) -> UsableRange:
    """The edges and the length of {lr: score >= target}, scores interpolated linearly over log10 lr.

    A length whose edge was not seen is a lower bound. A missing score is an error: score failures first.
    """
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN; failed trials are scored before their range is taken")
    order = np.argsort(lrs)
    x, y = np.log10(lrs[order]), scores[order]
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
