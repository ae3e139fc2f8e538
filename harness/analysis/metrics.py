"""The measures of a suite by name, and the score of each trial in one of them."""

from dataclasses import replace

import numpy as np
import pandas as pd

from harness.analysis.formatting import POINTS
from harness.analysis.measures.derived import DERIVED, curve_metric
from harness.analysis.measures.measure import Measure
from harness.analysis.measures.outcomes import measures_of_several_trials, outcomes_of
from harness.spec.manifest import Manifest, measured_of
from harness.spec.measured import Measured

FAILED = ("nonfinite", "no_better_than_init")
FINISHED = ("ok", "below_target", *FAILED)  # statuses that are results; trials with any other have none yet


class Metrics(dict[str, Measure]):
    """The metrics of a suite by name; those of curves, and those that several trials make up, are made when asked for.

    `outcomes` are those that trials come to, and of which more or less is good.
    """

    def __init__(self, of_suite: Measured) -> None:
        self.of_suite = of_suite
        self.outcomes = {metric.name: metric for metric in outcomes_of(of_suite)}
        super().__init__({**self.outcomes, **{metric.name: metric for metric in measures_of_several_trials(of_suite)}})

    def __missing__(self, name: str) -> Measure:
        for pattern, derive in DERIVED.items():
            if match := pattern.fullmatch(name):
                base, *axis = match.groups()
                return replace(derive(self[base], *axis), name=name)
        return curve_metric(name, self.of_suite)


def metrics_of(manifest: Manifest) -> Metrics:
    """What can be compared between the arms of a suite, by name."""
    return Metrics(measured_of(manifest))


def judged_by(manifest: Manifest, split: str = "test", task: str | None = None) -> Measure:
    """What the trials of a suite are judged by unless a claim names another: that of the target, where there is one.

    In a suite of several tasks it is that of `task`, or of the first.
    """
    metrics = metrics_of(manifest)
    of_suite = metrics.of_suite
    name = of_suite.judged_by(task or next(iter(of_suite.tasks)))
    if of_suite.target and (task is None or of_suite.target.metric in of_suite.tasks[task]):
        name = of_suite.target.metric
    if of_suite.is_own and split == "val":  # an outcome may have one on validation data beside it
        validated = f"val_{name.removeprefix('test_')}"
        name = validated if validated in of_suite.metrics else name
    return metrics[of_suite.column(name, split)]


def trial_scores(trials: pd.DataFrame, metric: Measure) -> "pd.Series[float]":
    """The metric of each trial as a number: failures scored by policy, NaN where there is no result or no value."""
    value = _values(trials, metric)
    by_policy = trials["status"].isin(FAILED) | (value.isna() if metric.also_missing else False)
    scored = value.mask(by_policy, metric.policy.value(trials).astype("float64"))
    return scored.where(trials["status"].isin(FINISHED))


def measured_scores(trials: pd.DataFrame, metric: Measure) -> "pd.Series[float]":
    """The metric of each trial as it was measured, failures too; NaN where there is no result or no value."""
    return _values(trials, metric).where(trials["status"].isin(FINISHED))


def _values(trials: pd.DataFrame, metric: Measure) -> "pd.Series[float]":
    return (trials[metric.name] if metric.compute is None else metric.compute(trials)).astype("float64")


def score_words(metric: Measure) -> str:
    """How a failed trial is scored, as a sentence."""
    return f"A trial that failed to train counts as {metric.policy.words}."


def smallest_effect(trials: pd.DataFrame, metric: Measure) -> float:
    """The difference below which arms count as equal, unless a claim sets its own margin.

    Half a point of a fraction, or one test example where the test set is smaller than 200. Of other metrics nobody
    knows what is small: 0.
    """
    if metric.unit is not POINTS:
        return 0.0
    examples = trials["test_examples"].astype("float64").min() if "test_examples" in trials else np.nan
    return 0.005 if np.isnan(examples) else max(0.005, 1 / examples)
