"""A suite: a grid of trials and the claims that the grid puts to the test."""

import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import islice, product
from typing import Any

from harness.errors import NO_ERRORS, SuiteError, error_line
from harness.spec.claim import Claim, is_number
from harness.spec.grids.log_grid import Growth, grown_grid, growth_of
from harness.spec.limits import Limits
from harness.spec.measured import ACCURACY, Aim, check_target
from harness.spec.metric import Metric, MetricSpec
from harness.spec.own_code.factories import REMEDY, factory_name
from harness.spec.own_code.own_metrics import own_metrics
from harness.spec.own_training.grid import own_compare, own_grids, refuse
from harness.spec.own_training.outcomes import declared_outcomes
from harness.spec.own_training.own_trial import TRAIN, AnyTrial, trial_of
from harness.spec.trial import Trial, Value, axis_types, canonical, join_names, require_field, split_names
from harness.text import lost_in_tables

Grid = Mapping[str, tuple[Value, ...]]  # axis -> its values
Functions = Mapping[str, Callable[..., Any]]
OwnFunctions = dict[str, dict[str, Callable[..., Any]]]  # axis -> name -> function of the suite's own

MAX_VALUES = 100_000  # of an axis: more are a slip of the keyboard, or never end

STANDARDIZED = ("digits",)  # datasets that are, unless a suite says otherwise: raw pixels favour batch norm

# Axes whose values may be functions of the suite file.
FUNCTION_AXES = ("model", "dataset", "norm", "optimizer", "schedule", "loss")


@dataclass(frozen=True, init=False)
class Suite:
    """A grid of trials and what is claimed of it.

    Every field of `Trial` may be one value or a list of values: then it is an axis. `also` adds further grids, each
    a mapping of the fields in which it differs from the first; a trial in several grids is one trial. `only_if` keeps
    the trials for which it is true. `compare` names the axis whose values are the arms. A trial whose test accuracy
    ends under `target_accuracy` is below_target; `target={"rmse": 50}` is the same for any metric, in the direction
    that is good. `save_models` keeps the weights of the last epoch and of the best. A model or a dataset may be a
    function of the suite's own. A list of `probes` is no axis: all are taken of each trial; so are all `metrics`,
    functions by name, which are taken besides those of the task. `max_seconds` and `max_memory_mb` are limits of each
    trial; after `heartbeat_timeout` silent seconds it has hung.

    With `train`, a function of (trial, log, checkpoint), that function trains: any other keyword is an axis, an
    attribute of the trial, and `outcomes` maps the names of what the function returns to a `Metric` each.
    """

    grids: tuple[Grid, ...]
    functions: Functions
    claims: tuple[Claim, ...]
    compare: str
    target_accuracy: float | None
    target: Mapping[str, float]
    only_if: Callable[[Any], bool]
    save_models: bool
    limits: Limits
    metrics: Mapping[str, MetricSpec]  # of its own
    growth: Growth | None  # of the learning rates

    def __init__(
        self,
        *,
        claims: Iterable[Claim] = (),
        compare: str | None = None,
        target_accuracy: float | None = None,
        target: Mapping[str, float] | None = None,
        also: Iterable[Mapping[str, Any]] = (),
        only_if: Callable[[Any], bool] = lambda trial: True,
        save_models: bool = False,
        max_seconds: float | None = None,
        max_memory_mb: float | None = None,
        heartbeat_timeout: float | None = None,
        metrics: Mapping[str, Any] | Iterable[Any] = (),
        outcomes: Mapping[str, Metric] | None = None,
        **axes: Any,
    ) -> None:
        if target_accuracy is not None and not (is_number(target_accuracy) and 0 < target_accuracy <= 1):
            raise SuiteError(f"target_accuracy must be a fraction above 0 and at most 1, got {target_accuracy!r}")
        has_target_accuracy = target_accuracy is not None
        target = check_target(target)
        if target and target_accuracy is not None:
            raise SuiteError(f"give either target_accuracy or target, got {target_accuracy!r} and {target!r}")
        target_accuracy = target.pop(ACCURACY, target_accuracy)
        if not callable(only_if):
            raise SuiteError(f"only_if must be a function from a trial to true or false, got {only_if!r}")
        if not isinstance(save_models, bool):
            raise SuiteError(f"save_models must be True or False, got {save_models!r}")
        limits = Limits(max_seconds=max_seconds, max_memory_mb=max_memory_mb, heartbeat_timeout=heartbeat_timeout)
        claims = _as_members("claims", claims, Claim, "made by Claim.better and its like")
        also = _as_members("also", also, Mapping, "a list of dictionaries, such as {'lr': 0.1}")
        if any("metrics" in changes for changes in also):
            raise SuiteError("metrics are of the whole suite; give them beside `also`, not in it")
        growth = growth_of(axes, also, compare, has_target=bool(target or target_accuracy))
        variables = sys._getframe(1).f_globals  # of the suite: what has no name of its own goes by that of its variable
        axes = {axis: _as_list(axis, given) for axis, given in axes.items()}
        also = tuple({axis: _as_list(axis, given) for axis, given in changes.items()} for changes in also)
        if TRAIN in axes:
            elsewhere = {"metrics": metrics, "save_models": save_models, "target_accuracy": has_target_accuracy}
            refuse([name for name, given in elsewhere.items() if given])
            specs = declared_outcomes(outcomes, {name for grid in (axes, *also) for name in grid})
            grids, functions = own_grids(axes, also, variables)
            compare = own_compare(grids, compare)
        elif outcomes is not None or any(TRAIN in changes for changes in also):
            raise SuiteError("outcomes are of own training: give the suite train=..., a function that trains")
        else:
            grids, functions, specs = _grids_of_models(axes, also, metrics, variables)
            compare = compare if compare is not None else _default_compare(grids)
            if compare not in axis_types():
                canonical(str(compare), None)
        values = (grids, functions, claims, compare, target_accuracy, target, only_if, save_models, limits, specs)
        for field, value in zip(fields(self), (*values, growth), strict=True):
            object.__setattr__(self, field.name, value)

    @property
    def is_own(self) -> bool:
        """Whether a function of the suite's own trains, and not the harness."""
        return any(TRAIN in grid for grid in self.grids)

    @property
    def aim(self) -> Aim:
        """What its trials are to be measured by."""
        return Aim(own=self.metrics, target_accuracy=self.target_accuracy, target=self.target)

    def trials(
        self,
        *,
        device: str = "cpu",
        sources: Mapping[str, str] | None = None,
        seeds: Sequence[int] = (),
        lrs: Collection[float] = (),
    ) -> Iterator[AnyTrial]:
        """Every trial once: seeds outermost and arms innermost, so that half a run is a fair sample of the grid.

        `device` stands in for "auto"; `sources` maps a model or dataset that the suite brings to a digest of it;
        `seeds` stand in for those of the suite; `lrs` are those that a growing grid has got.
        """
        seen: set[AnyTrial] = set()
        of_seeds = {"seed": tuple(seeds)} if seeds else {}
        for grid in (grown_grid({**grid, **of_seeds}, self.growth, lrs) for grid in self.grids):
            order = sorted(grid, key=lambda axis: (axis != "seed", axis == self.compare))
            for values in product(*(grid[axis] for axis in order)):
                content = dict(zip(order, values, strict=True))
                if content.get("device", "auto") == "auto":
                    content["device"] = device
                if content.get("dataset") in STANDARDIZED and content["dataset"] not in self.functions:
                    content.setdefault("standardize", True)
                source = source_of(sources or {}, content)
                trial = trial_of({**content, "source": source})
                if trial not in seen and self._keeps(trial):
                    seen.add(trial)
                    yield trial

    def _keeps(self, trial: AnyTrial) -> bool:
        try:
            return bool(self.only_if(trial))
        except NO_ERRORS:
            raise
        except BaseException as error:  # a function of the suite's own may raise anything
            raise SuiteError(f"only_if failed on {trial.content}: {error_line(error)}") from error


def source_of(sources: Mapping[str, str], content: Mapping[str, Value]) -> str:
    """The source of a trial with these fields: the digests of those of its functions that the suite brings."""
    own = own_names(content)
    return "+".join(digest for name, digest in sources.items() if name in own)


def own_names(content: Mapping[str, Value]) -> set[Value]:
    """The names in a trial with these fields that may be those of functions of the suite's own."""
    if TRAIN in content:
        return {content[TRAIN]}
    metrics = split_names(str(content.get("metrics", "")))
    return {*(content[axis] for axis in FUNCTION_AXES if axis in content), *metrics}


def _grids_of_models(
    axes: dict[str, list[Any]], also: Iterable[Mapping[str, Any]], metrics: Any, variables: Mapping[str, Any]
) -> tuple[tuple[Grid, ...], Functions, dict[str, MetricSpec]]:
    """The grids of a suite whose models the harness trains, its functions by name, and its metrics."""
    own: OwnFunctions = {}
    tasks = [task for grid in (axes, *also) for task in _as_list("task", grid.get("task", "classification"))]
    of_suite = own_metrics(metrics, tasks, variables)
    for name, metric in of_suite.items():
        assert metric.function is not None, "own_metrics refuses a metric without one"
        _keep_function("metric", name, metric.function, own)
    if of_suite:
        axes["metrics"] = [join_names(of_suite)]
    grids = tuple(_make_grid({**axes, **changes}, own, variables) for changes in ({}, *also))
    _check_names(grids, own)
    functions = {name: function for of_axis in own.values() for name, function in of_axis.items()}
    return grids, functions, {name: metric.spec(name) for name, metric in of_suite.items()}


def _make_grid(axes: Mapping[str, Any], own: OwnFunctions, variables: Mapping[str, Any]) -> Grid:
    """The axes with every value in canonical form; functions are replaced by their names and kept aside."""
    for axis in axes:  # what is missing may be there under another name
        require_field(axis)
    missing = [
        f.name for f in fields(Trial) if f.name in ("dataset", "model", "lr", "batch_size") and f.name not in axes
    ]
    if missing:
        raise SuiteError(f"a suite must say {', '.join(missing)}")
    grid: dict[str, tuple[Value, ...]] = {}
    for axis, given in axes.items():
        if axis == "source":
            raise SuiteError("source is computed from the files that a suite brings; leave it out")
        values = [canonical(axis, _name_function(axis, value, own, variables)) for value in _as_list(axis, given)]
        if not values:
            raise SuiteError(f"axis {axis!r} is empty; give it a value or a list of values")
        if len(set(values)) < len(values):
            twice = next(value for i, value in enumerate(values) if value in values[:i])
            raise SuiteError(f"axis {axis!r} has {twice!r} twice; every value stands once")
        grid[axis] = tuple(values)
    return grid


def _as_members(name: str, given: Any, kind: Any, what: str) -> tuple[Any, ...]:
    """A setting that is no axis: a list whose members are of that kind, or one of them."""
    members = tuple(given) if isinstance(given, Iterable) else (given,)
    if strangers := [member for member in members if not isinstance(member, kind)]:
        raise SuiteError(f"{name} must be {what}, got {strangers[0]!r}")
    return members


def _as_list(axis: str, given: Any) -> list[Any]:
    """What an axis is given, as a list: a generator can be gone through but once."""
    if axis == "probes" and not isinstance(given, str):  # all of them are taken of every trial: no axis
        return [_join_probes(given)]
    if isinstance(given, set | frozenset):
        raise SuiteError(f"axis {axis!r} is a set, which keeps no order; give it a list")
    is_mapping = axis == "optimizer_args" and isinstance(given, Mapping)
    is_one = isinstance(given, str) or is_mapping or not isinstance(given, Iterable) or getattr(given, "ndim", 1) == 0
    values = [given] if is_one else list(islice(given, MAX_VALUES + 1))
    if len(values) > MAX_VALUES:
        raise SuiteError(f"axis {axis!r} has more than {MAX_VALUES} values; give it fewer")
    return values


def _join_probes(given: Any) -> str:
    names = list(given) if isinstance(given, Iterable) else [given]
    if strangers := [name for name in names if not isinstance(name, str)]:
        raise SuiteError(f"probes must be a list of names, such as ['gradients'], got {strangers[0]!r} in it")
    return join_names(names)


def _name_function(axis: str, value: Any, own: OwnFunctions, variables: Mapping[str, Any]) -> Any:
    """A function of the suite's own by its name, and kept under its axis; anything else as it is."""
    if not (axis in FUNCTION_AXES and callable(value)):
        return value
    name = factory_name(axis, value, variables)
    _keep_function(axis, name, value, own)
    return name


def _keep_function(axis: str, name: str, function: Callable[..., Any], own: OwnFunctions) -> None:
    """Keep a function of the suite's own under its axis and its name; SuiteError where another goes by that."""
    # A method is a new object each time that it is named, and equals the one before.
    for known in (functions[name] for functions in own.values() if name in functions):
        if known is not function and not (inspect.ismethod(function) and known == function):
            raise SuiteError(
                f"a {axis} of the suite's own needs a name that no other has, got {name!r} twice; {REMEDY}"
            )
    if reason := lost_in_tables(name):
        raise SuiteError(f"{reason}; call the {axis} something else")
    own.setdefault(axis, {})[name] = function


def _check_names(grids: Iterable[Grid], own: OwnFunctions) -> None:
    """SuiteError where an axis has a name that a function of another axis goes by: it would be taken for that."""
    for grid in grids:
        for axis in FUNCTION_AXES:
            for other, functions in own.items():
                names = [name for name in grid.get(axis, ()) if name in functions and name not in own.get(axis, {})]
                if names and other != axis:
                    raise SuiteError(
                        f"{axis} {names[0]!r} is also the name of a {other} of the suite's own; give that another name"
                    )


def _default_compare(grids: tuple[Grid, ...]) -> str:
    """The axis that is most likely compared: norm where it varies, else the first that does, else norm."""
    varying = [
        axis for grid in grids for axis, values in grid.items() if len(values) > 1 and axis not in ("lr", "seed")
    ]
    return "norm" if "norm" in varying or not varying else varying[0]
