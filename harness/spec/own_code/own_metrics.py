"""Metrics of a suite's own: a mapping from names to functions, or a list of functions that have names."""

import functools
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness.errors import SuiteError, nearest
from harness.spec.metric import TASK_METRICS, Metric
from harness.spec.own_code.factories import factory_name

OF_TASKS = frozenset(name for metrics in TASK_METRICS.values() for name in metrics)
TAKEN = {*OF_TASKS, "loss", "examples"}  # what columns are called already
NAME = re.compile(r"[^\W\d](?:[\w -]{0,48}\w)?")
SKLEARN = "sklearn.metrics"
# Ends of names there -> whether higher is better
ENDS = {"_score": True, "_corrcoef": True, "_error": False, "_loss": False, "_deviance": False}
OF_TORCHMETRICS = "torchmetrics.functional."


def own_metrics(given: Any, tasks: Iterable[str], variables: Mapping[str, Any]) -> dict[str, Metric]:
    """The metrics of a suite besides those of its tasks, by name; SuiteError where one can't be told from another.

    A metric that a task has anyway may be named, and adds nothing.
    """
    if isinstance(given, Mapping):
        named = list(given.items())
    else:
        members = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
        named = [_named(member, variables) for member in members]
    known = {name for task in tasks for name in TASK_METRICS.get(str(task), {})}
    metrics: dict[str, Metric] = {}
    for name, value in named:
        if value is None:
            if name not in known:
                raise SuiteError(f"unknown metric {name!r}; {nearest(name, known)}, or give a function")
            continue
        if not isinstance(name, str) or not NAME.fullmatch(name) or name in TAKEN:
            raise SuiteError(
                f"a metric of the suite's own is named by letters, digits, spaces and '_', and not as another is, "
                f"got {name!r:.60}; metrics={{name: function}} gives it another"
            )
        if name in metrics:
            raise SuiteError(f"two metrics are called {name!r}; give them as a mapping from names to functions")
        if isinstance(value, Metric) and value.function is None:
            raise SuiteError(f"metric {name!r} needs a function of outputs and targets, got a Metric without one")
        metrics[name] = value if isinstance(value, Metric) else _of_function(name, value)
    return metrics


def _named(value: Any, variables: Mapping[str, Any]) -> tuple[Any, Any]:
    """A member of a list, and the name that it goes by; a name alone has no function."""
    if isinstance(value, str):
        return value, None
    function = value.function if isinstance(value, Metric) else value
    return ("a metric" if function is None else factory_name("metric", function, variables)), value


def _of_function(name: str, function: Any) -> Metric:
    """A function as it is, where a well-known package says which direction is good."""
    if not callable(function):
        raise SuiteError(
            f"metric {name!r} must be a function of outputs and targets, or a Metric, got {function!r:.80}"
        )
    called = getattr(unwrapped(function), "__name__", "")
    ending = next((end for end in ENDS if called.endswith(end)), "")
    if is_of_sklearn(function) and ending:
        return Metric(function, higher_is_better=ENDS[ending])
    if (better := _torchmetrics_direction(unwrapped(function))) is not None:
        return Metric(function, higher_is_better=better)
    raise SuiteError(
        f"nobody can tell whether more of metric {name!r} is better; "
        f"write harness.Metric({called or name}, higher_is_better=...)"
    )


def _torchmetrics_direction(function: Any) -> bool | None:
    """What torchmetrics says of a metric, or of the one that a function computes; None where it says nothing.

    There `functional.classification.hinge.binary_hinge_loss` computes `classification.hinge.BinaryHingeLoss`.
    """
    module, called = getattr(function, "__module__", None) or "", getattr(function, "__name__", "")
    if module.startswith(OF_TORCHMETRICS):
        home = sys.modules.get(module.replace(".functional", "", 1))
        kinds = {name.lower(): kind for name, kind in vars(home).items()} if home else {}
        function = kinds.get(called.replace("_", ""))
    better = getattr(function, "higher_is_better", None)
    return better if isinstance(better, bool) else None


def unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a `functools.partial` is of."""
    return function.func if isinstance(function, functools.partial) else function


def is_of_sklearn(function: Callable[..., Any]) -> bool:
    """Whether it is called with targets first, as scikit-learn calls its metrics."""
    return str(getattr(unwrapped(function), "__module__", "")).startswith(SKLEARN)
