"""The outcomes of own training as measures. Nobody knows what guessing comes to, so failures count as the worst."""

import math
from collections.abc import Iterator

import pandas as pd

from harness.analysis.measures.measure import UNSCORED, WORST, Measure, Policy, unit_of
from harness.spec.measured import Measured
from harness.spec.metric import MetricSpec


def own_outcomes(of_suite: Measured) -> Iterator[Measure]:
    """What trials come to: columns of trials.csv, by the names that the suite gives them."""
    for name, spec in of_suite.metrics.items():
        better, worse = ("higher", "lower") if spec.higher_is_better else ("lower", "higher")
        yield Measure(
            name=name,
            words=spec.words,
            template=f"{spec.words} is {{difference}}",
            unit=unit_of(spec),
            better=better,
            worse=worse,
            policy=worst(spec),
            sign=1 if spec.higher_is_better else -1,
            low=spec.low,
            high=spec.high,
        )


def worst(spec: MetricSpec) -> Policy:
    """What a trial counts as that has failed to train: the worst that an outcome can be, where it has such an end."""
    end = spec.low if spec.higher_is_better else spec.high
    if not math.isfinite(end):
        return UNSCORED
    return Policy(f"{WORST} ({end:g})", lambda trials: pd.Series(end, index=trials.index))
