"""What is known of a metric without computing it: its unit, its good direction, its range. And the tasks' own metrics.

Columns of trials.csv are called by split and metric, such as test_accuracy; curves likewise, such as test.accuracy.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

FRACTION = "fraction"  # the unit of what is shown in per cent, and whose differences are points


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """What a report has to know of a metric: `words` name it in a sentence."""

    words: str
    unit: str = ""  # "fraction", or what is written behind the number, such as "kWh"; "" for a plain number
    higher_is_better: bool
    low: float = -math.inf  # the least that it can be
    high: float = math.inf


ACCURACY = MetricSpec(words="accuracy", unit=FRACTION, higher_is_better=True, low=0.0, high=1.0)

# Task -> its metrics by name; the first is the one that a task is judged by. The loss of each example is known for all.
TASK_METRICS: Mapping[str, Mapping[str, MetricSpec]] = {
    "classification": {"accuracy": ACCURACY},
    "regression": {
        "rmse": MetricSpec(words="RMSE", higher_is_better=False, low=0.0),
        "mae": MetricSpec(words="MAE", higher_is_better=False, low=0.0),
        "r2": MetricSpec(words="share of variance explained", unit=FRACTION, higher_is_better=True, high=1.0),
    },
    "multilabel": {
        "f1": MetricSpec(words="macro F1", unit=FRACTION, higher_is_better=True, low=0.0, high=1.0),
        "label_accuracy": MetricSpec(
            words="accuracy of a label", unit=FRACTION, higher_is_better=True, low=0.0, high=1.0
        ),
        "exact_match": MetricSpec(
            words="share of exact matches", unit=FRACTION, higher_is_better=True, low=0.0, high=1.0
        ),
    },
    "sequence": {
        "accuracy": ACCURACY,
        "perplexity": MetricSpec(words="perplexity", higher_is_better=False, low=1.0),
    },
}
