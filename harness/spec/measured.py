"""What the trials of a suite are measured by: the metrics of their tasks and of its own, and its target."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import SuiteError, lookup
from harness.spec.metric import TASK_METRICS, MetricSpec
from harness.spec.own_training.own_trial import AnyTrial, OwnTrial, in_order
from harness.spec.trial import Trial, axis_types, split_names

SPLITS = ("train", "val", "test")
CLASSIFICATION = "classification"  # the task of a trial that names none
ACCURACY = "accuracy"
OWN = "own training"  # stands for the task of trials that a function of the suite's own trains
LOGGED = "log"  # the split of its curves
CROSSING = re.compile(r"(?P<curve>[a-z]+\.[^\s()]+) <= (?P<level>[-+.0-9eE]+)")
LOSS = "loss"  # what all trials have besides metrics
GUESS = "guess_"  # how facts begin of what the best constant prediction comes to: the loss, and each metric


def is_guessed(task: str, metric: str) -> bool:
    """Whether a trial says what guessing comes to; the accuracy of guessing a class is 1 / classes for everyone."""
    return (task, metric) != (CLASSIFICATION, ACCURACY)


def guess_column(metric: str) -> str:
    """The fact, and the column, of what the best constant prediction comes to on test data."""
    return f"{GUESS}{metric}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A value of a metric that trials are to reach: on validation data as soon as they can, on test data at the end."""

    metric: str  # such as "accuracy"
    value: float
    spec: MetricSpec
    column: str  # of trials.csv, that has its value at the end

    def is_reached(self, value: float | None) -> bool:
        """Whether a value of the metric is as good; one that is missing is not."""
        if value is None or math.isnan(value):
            return False
        return value >= self.value if self.spec.higher_is_better else value <= self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """Where in training a curve first falls to a level."""

    curve: str  # "split.name"
    level: float


def crossing_of(at: object) -> Crossing | None:
    """What a text such as "batch.loss <= 0.1" stands for; None where it is none."""
    match = CROSSING.fullmatch(at) if isinstance(at, str) else None
    try:
        return None if match is None else Crossing(curve=match["curve"], level=float(match["level"]))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The metrics of a suite's trials by their task, in each the one first that the task is judged by."""

    tasks: Mapping[str, Mapping[str, MetricSpec]]  # task -> name of a metric -> what is known of it
    target: Target | None = None
    axes: Mapping[str, tuple[type, ...]] = field(default_factory=axis_types)  # fields of the trials -> their types

    @property
    def is_own(self) -> bool:
        """Whether the metrics are outcomes of own training, which have no splits and of which nobody knows a guess."""
        return OWN in self.tasks

    def of(self, trial: AnyTrial) -> Mapping[str, MetricSpec]:
        """The metrics of a trial by name, first the one that it is judged by."""
        return self.tasks[OWN if isinstance(trial, OwnTrial) else trial.task]

    def column(self, metric: str, split: str = "test") -> str:
        """The column of trials.csv that has a metric on a split; an outcome of own training is called as it is."""
        return metric if self.is_own else f"{split}_{metric}"

    @property
    def metrics(self) -> dict[str, MetricSpec]:
        """All metrics of all tasks, in the order of these."""
        return {name: spec for metrics in self.tasks.values() for name, spec in metrics.items()}

    @property
    def guessed(self) -> list[str]:
        """The metrics of which trials know what guessing comes to."""
        if self.is_own:
            return []
        pairs = ((task, name) for task, metrics in self.tasks.items() for name in metrics)
        return list(dict.fromkeys(name for task, name in pairs if is_guessed(task, name)))

    @property
    def columns(self) -> list[str]:
        """The columns of trials.csv that hold values of metrics."""
        if self.is_own:
            return [*self.metrics]
        values = [f"{split}_{metric}" for metric in (LOSS, *self.metrics) for split in SPLITS]
        return [*values, *map(guess_column, self.guessed)]

    def judged_by(self, task: str) -> str:
        """The name of the metric that tells how good a trial of this task is."""
        return next(iter(self.tasks[task]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a suite says of its measurements besides its trials."""

    own: Mapping[str, MetricSpec] = field(default_factory=dict)  # metrics that it brings itself
    target_accuracy: float | None = None
    target: Mapping[str, float] = field(default_factory=dict)  # the value to reach of a metric other than accuracy


def measured_by(trials: Iterable[AnyTrial], aim: Aim) -> Measured:
    """What these trials are measured by; SuiteError where the target is of no metric of theirs."""
    trials = list(trials)
    if own := [trial for trial in trials if isinstance(trial, OwnTrial)]:
        return measured_own({name: [getattr(trial, name) for trial in own] for name in own[0].names}, aim)
    pairs = dict.fromkeys((trial.task, trial.metrics) for trial in trials if isinstance(trial, Trial))
    return measured([task for task, _ in pairs], [names for _, names in pairs], aim)


def measured(tasks: Iterable[str], names: Iterable[str], aim: Aim) -> Measured:
    """What trials of these tasks are measured by, that name these metrics, joined by "+"."""
    named = [name for joined in dict.fromkeys(names) for name in split_names(joined)]
    besides = {name: _spec(name, aim.own) for name in named}
    of_tasks = {
        task: {**lookup(TASK_METRICS, task, "task"), **besides} for task in dict.fromkeys(tasks) or [CLASSIFICATION]
    }
    without_target = Measured(tasks=of_tasks)
    return Measured(tasks=of_tasks, target=_target(without_target, aim))


def measured_own(values: Mapping[str, Iterable[Any]], aim: Aim) -> Measured:
    """What own training is measured by; `values` are those that its fields and settings have."""
    kinds = {name: {type(value) for value in values.get(name, ())} for name in in_order(values)}
    axes = {name: tuple(sorted(types, key=lambda kind: kind.__name__)) for name, types in kinds.items()}
    without_target = Measured(tasks={OWN: aim.own}, axes=axes)
    return Measured(tasks={OWN: aim.own}, axes=axes, target=_target(without_target, aim))


def _spec(name: str, own: Mapping[str, MetricSpec]) -> MetricSpec:
    """What is known of a metric that trials name."""
    of_tasks = {name: spec for metrics in TASK_METRICS.values() for name, spec in metrics.items()}
    return lookup({**of_tasks, **own}, name, "metric")


def _target(of_suite: Measured, aim: Aim) -> Target | None:
    metrics = of_suite.metrics
    accuracy = {} if aim.target_accuracy is None else {ACCURACY: aim.target_accuracy}
    for name, value in {**accuracy, **aim.target}.items():
        if accuracy and name not in metrics:
            raise SuiteError(f"target_accuracy is of no use here: trials are measured by {', '.join(metrics)}")
        spec = lookup(metrics, name, "metric of the target")
        if not spec.low <= value <= spec.high:
            raise SuiteError(f"target: {name} lies in {spec.low:g}..{spec.high:g}, got {value!r}")
        return Target(metric=name, value=float(value), spec=spec, column=of_suite.column(name))
    return None


def check_target(target: Any) -> dict[str, float]:
    """The target as a suite gives it, such as {"rmse": 50}; SuiteError unless it is one metric with a number."""
    if target is None:
        return {}
    if isinstance(target, Mapping) and len(target) == 1:
        ((name, value),) = target.items()
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(name, str) and is_number and math.isfinite(value):
            return {name: float(value)}
    raise SuiteError(f'target must be one metric with its value, such as {{"rmse": 50}}, got {target!r}')
