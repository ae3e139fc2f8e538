"""Curves as metrics: one value of a curve for each trial."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from harness.analysis.measures.measure import Measure
from harness.analysis.metrics import metrics_of
from harness.spec.measured import crossing_of
from harness.storage.tables import Results

OVER_TRAINING: dict[str, Callable[[Any], "pd.Series[float]"]] = {  # what a claim may be about -> from values by key
    "mean": lambda values: values.mean(),
    "range": lambda values: values.max() - values.min(),
}


def with_curve(results: Results, metric: str, at: str) -> tuple[pd.DataFrame, Measure]:
    """The trials with a column for one value of a curve, and what it means; as they are where the metric is an outcome.

    A trial that diverged has no last value, no mean and no range: what was measured up to there is of another stage.
    """
    metrics = metrics_of(results.manifest)
    if metric in metrics.outcomes:
        return results.trials, metrics[metric]
    curve, crossing = _curve(results, metric), crossing_of(at)
    by_key = curve.groupby("key")["value"]
    if crossing is not None:
        value = _at_crossing(curve, _curve(results, crossing.curve), crossing.level)
    elif at in OVER_TRAINING:
        value = OVER_TRAINING[at](by_key).where(by_key.count() == by_key.size())
    else:
        value = curve.drop_duplicates("key", keep=at).set_index("key")["value"]  # type: ignore[call-overload]
    column = with_at(metric, at)
    values = results.trials["key"].map(value).astype("float64")
    diverged = (results.trials["status"] == "nonfinite") & (at != "first")
    return results.trials.assign(**{column: values.mask(diverged)}), metrics[column]


def _curve(results: Results, name: str) -> pd.DataFrame:
    """The rows of a curve, "split.name", in the order of steps."""
    split, _, metric = name.partition(".")
    curve = results.curves[(results.curves["split"] == split) & (results.curves["metric"] == metric)]
    return curve.sort_values("step", kind="stable")


def _at_crossing(curve: pd.DataFrame, falling: pd.DataFrame, level: float) -> "pd.Series[float]":
    """By key the value of a curve where another first falls to a level, linear between evaluations; else none."""
    both = curve.merge(falling[["key", "step", "value"]], on=["key", "step"], suffixes=("", "_falling"))
    before = both.groupby("key")[["value", "value_falling"]].shift(1)
    both = both.assign(before=before["value"], falling_before=before["value_falling"])
    first = both[both["value_falling"] <= level].drop_duplicates("key").set_index("key")
    share = (first["falling_before"] - level) / (first["falling_before"] - first["value_falling"])
    between = first["before"] + share * (first["value"] - first["before"])
    return between.fillna(first["value"])


def with_at(metric: str, at: str) -> str:
    """The name of a metric that is one value of a curve."""
    return metric if at == "last" else f"{metric} ({at})"
