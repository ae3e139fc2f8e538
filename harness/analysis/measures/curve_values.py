"""Curves as metrics: one value of a curve for each trial."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from harness.analysis.measures.measure import Measure
from harness.analysis.metrics import metrics_of
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
    split, _, name = metric.partition(".")
    curve = results.curves[(results.curves["split"] == split) & (results.curves["metric"] == name)]
    curve = curve.sort_values("step", kind="stable")
    by_key = curve.groupby("key")["value"]
    if at in OVER_TRAINING:
        value = OVER_TRAINING[at](by_key).where(by_key.count() == by_key.size())
    else:
        value = curve.drop_duplicates("key", keep=at).set_index("key")["value"]  # type: ignore[call-overload]
    column = with_at(metric, at)
    values = results.trials["key"].map(value).astype("float64")
    diverged = (results.trials["status"] == "nonfinite") & (at != "first")
    return results.trials.assign(**{column: values.mask(diverged)}), metrics[column]


def with_at(metric: str, at: str) -> str:
    """The name of a metric that is one value of a curve."""
    return metric if at == "last" else f"{metric} ({at})"
