"""Pure functions of arrays: every estimate, interval and test that a report shows.

Entry i of two paired arrays comes from the same seed. Failed trials are scored before they arrive here (metrics.py), so
no function drops a value. What is random takes its generator.
"""

from harness.analysis.stats.effects import page_trend, recovered_fraction, slopes, step_ratio
from harness.analysis.stats.paired import (
    ALPHA,
    Interval,
    equivalence_p,
    expanded_percentiles,
    holm,
    mean_interval,
    p_floor,
    seeds_needed,
    sign_flip_p,
)
from harness.analysis.stats.ranges import UsableRange, usable_range
from harness.analysis.stats.rates import mcnemar_p, wilson
from harness.analysis.stats.tasks import iqm, iqm_interval, mean_ranks, normalised, performance_profile
from harness.analysis.stats.times import log_rank_p, restricted_times, survival
from harness.analysis.stats.tuning import (
    best_of_k,
    best_of_k_band,
    chosen_lrs,
    cross_fitted,
    lr_sensitivity,
    tuned_difference,
)

__all__ = [
    "ALPHA",
    "Interval",
    "UsableRange",
    "best_of_k",
    "best_of_k_band",
    "chosen_lrs",
    "cross_fitted",
    "equivalence_p",
    "expanded_percentiles",
    "holm",
    "iqm",
    "iqm_interval",
    "log_rank_p",
    "lr_sensitivity",
    "mcnemar_p",
    "mean_interval",
    "mean_ranks",
    "normalised",
    "p_floor",
    "page_trend",
    "performance_profile",
    "recovered_fraction",
    "restricted_times",
    "seeds_needed",
    "sign_flip_p",
    "slopes",
    "step_ratio",
    "survival",
    "tuned_difference",
    "usable_range",
    "wilson",
]
