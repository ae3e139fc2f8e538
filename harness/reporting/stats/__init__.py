"""Pure functions of arrays: every estimate, interval and test that a report shows.

Entry i of two paired arrays comes from the same seed. Failed trials are scored before they arrive here (metrics.py), so
no function drops a value. What is random takes its generator.
"""

from harness.reporting.stats.effects import (
    iqm,
    mean_ranks,
    normalised,
    page_trend,
    recovered_fraction,
    slopes,
    step_ratio,
)
from harness.reporting.stats.paired import (
    ALPHA,
    Interval,
    equivalence_p,
    holm,
    mean_interval,
    p_floor,
    seeds_needed,
    sign_flip_p,
)
from harness.reporting.stats.ranges import UsableRange, cross_fitted, lr_sensitivity, usable_range
from harness.reporting.stats.rates import mcnemar_p, wilson
from harness.reporting.stats.times import log_rank_p, restricted_times, survival

__all__ = [
    "ALPHA",
    "Interval",
    "UsableRange",
    "cross_fitted",
    "equivalence_p",
    "holm",
    "iqm",
    "log_rank_p",
    "lr_sensitivity",
    "mcnemar_p",
    "mean_interval",
    "mean_ranks",
    "normalised",
    "p_floor",
    "page_trend",
    "recovered_fraction",
    "restricted_times",
    "seeds_needed",
    "sign_flip_p",
    "slopes",
    "step_ratio",
    "survival",
    "usable_range",
    "wilson",
]
