"""Time to a target: a run that never reaches it is censored at its budget."""

import numpy as np
import scipy
from numpy.typing import NDArray

from harness.analysis.stats.arrays import FloatArray


def restricted_times(times: FloatArray, budgets: FloatArray) -> FloatArray:
    """min(T, B) per run, the budget where T is missing; its mean is the restricted mean survival time."""
    return np.fmin(times, budgets)


def survival(times: FloatArray, reached: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """The Kaplan-Meier steps: times, and the share that has not reached the target after each."""
    steps = scipy.stats.ecdf(_censored(times, reached)).sf
    return steps.quantiles, steps.probabilities


def log_rank_p(
    ours: FloatArray, ours_reached: NDArray[np.bool_], theirs: FloatArray, theirs_reached: NDArray[np.bool_]
) -> float:
    """The p of an unpaired log-rank test: a reference only, since it gives the pairing away."""
    return float(scipy.stats.logrank(_censored(ours, ours_reached), _censored(theirs, theirs_reached)).pvalue)


def _censored(times: FloatArray, reached: NDArray[np.bool_]) -> "scipy.stats.CensoredData":
    return scipy.stats.CensoredData.right_censored(times, ~reached)
