"""Shares of trials, such as the share that failed to train."""

import numpy as np
import scipy
from numpy.typing import NDArray

from harness.analysis.stats.paired import Interval


def wilson(successes: int, trials: int) -> Interval:
    """The share with its Wilson (1927) interval; 0 to 1 where there were no trials."""
    if trials == 0:
        return Interval(float("nan"), 0.0, 1.0)
    ends = scipy.stats.binomtest(successes, trials).proportion_ci(method="wilson")
    return Interval(successes / trials, float(ends.low), float(ends.high))


def mcnemar_p(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> float:
    """The exact two-sided p of "both arms fail equally often", from the seeds at which one alone failed."""
    ours_alone, theirs_alone = int(np.sum(ours & ~theirs)), int(np.sum(theirs & ~ours))
    if ours_alone + theirs_alone == 0:
        return 1.0
    return float(scipy.stats.binomtest(ours_alone, ours_alone + theirs_alone).pvalue)
