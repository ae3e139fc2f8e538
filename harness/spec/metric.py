"""What is known of a metric without computing it: its unit, its good direction, its range. And the tasks' own metrics.

Columns of trials.csv are called by split and metric, such as test_accuracy; curves likewise, such as test.accuracy.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import SuiteError

FRACTION = "fraction"  # the unit of what is shown in per cent, and whose differences are points
NAMES_OF_KINDS = {"higher_is_better": "True or False", "unit": "text", "low": "a number", "high": "a number"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """What a report has to know of a metric: `words` name it in a sentence."""

    words: str
    unit: str = ""  # "fraction", or what is written behind the number, such as "kWh"; "" for a plain number
    higher_is_better: bool
    low: float = -math.inf  # the least that it can be
    high: float = math.inf


WITH_CLASSES = ("classification", "sequence")  # tasks whose targets are classes
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


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of a suite's own: `function(outputs, targets)` gives its value for all examples of a split, a number.

    Outputs and targets are tensors as one plain model and its loss have them. Functions of sklearn.metrics are called
    as that package calls them, with what the model predicts. `low` and `high` are the least and the most it can be.
    An outcome of own training is declared without a function.
    """

    function: Callable[..., Any] | None = None
    unit: str = field(default="", kw_only=True)
    higher_is_better: bool = field(kw_only=True)
    low: float = field(default=-math.inf, kw_only=True)
    high: float = field(default=math.inf, kw_only=True)

    def __post_init__(self) -> None:
        if self.function is not None and not callable(self.function):
            raise SuiteError(f"Metric needs a function of outputs and targets, got {self.function!r:.80}")
        for name, kinds in (("higher_is_better", bool), ("unit", str), ("low", int | float), ("high", int | float)):
            if not isinstance(value := getattr(self, name), kinds):
                raise SuiteError(f"Metric needs {name} to be {NAMES_OF_KINDS[name]}, got {value!r:.80}")

    def spec(self, name: str) -> MetricSpec:
        """What a report has to know of it."""
        ends = {"low": float(self.low), "high": float(self.high)}
        return MetricSpec(words=name, unit=self.unit, higher_is_better=self.higher_is_better, **ends)
