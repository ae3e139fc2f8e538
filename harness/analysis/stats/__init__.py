"""Pure functions of arrays: every estimate, interval and test that a report shows.

Entry i of two paired arrays comes from the same seed. Failed trials are scored before they arrive here (metrics.py), so
no function drops a value; those that rank them (sign_test.py) are told which they are. What is random takes its
generator.
"""

from harness.analysis.stats.effects import page_trend, recovered_fraction, slopes, step_ratio
from harness.analysis.stats.paired import (
    ALPHA,
    Interval,
    expanded_percentiles,
    holm,
    mean_interval,
    sign_flip_p,
    sign_flip_sides,
)
from harness.analysis.stats.ranges import UsableRange, usable_range
from harness.analysis.stats.rates import mcnemar_p, wilson
from harness.analysis.stats.sign_test import (
    EquivalenceTest,
    SignTest,
    dissenters_borne,
    equivalence_test,
    fails_more,
    failures_p,
    lone_failures,
    median_interval,
    most_alone,
    over_points,
    p_floor,
    seeds_for_failures,
    seeds_for_power,
    seeds_needed,
    sign_test,
    two_sided,
    upper_tail,
    with_failures,
)
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
    "EquivalenceTest",
    "Interval",
    "SignTest",
    "UsableRange",
    "best_of_k",
    "best_of_k_band",
    "chosen_lrs",
    "cross_fitted",
    "dissenters_borne",
    "equivalence_test",
    "expanded_percentiles",
    "fails_more",
    "failures_p",
    "holm",
    "iqm",
    "iqm_interval",
    "log_rank_p",
    "lone_failures",
    "lr_sensitivity",
    "mcnemar_p",
    "mean_interval",
    "mean_ranks",
    "median_interval",
    "most_alone",
    "normalised",
    "over_points",
    "p_floor",
    "page_trend",
    "performance_profile",
    "recovered_fraction",
    "restricted_times",
    "seeds_for_failures",
    "seeds_for_power",
    "seeds_needed",
    "sign_flip_p",
    "sign_flip_sides",
    "sign_test",
    "slopes",
    "step_ratio",
    "survival",
    "tuned_difference",
    "two_sided",
    "upper_tail",
    "usable_range",
    "wilson",
    "with_failures",
]
