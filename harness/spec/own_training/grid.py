"""The grids of a suite whose trials a function of its own trains."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from harness.errors import SuiteError, nearest
from harness.spec.own_code.factories import factory_name
from harness.spec.own_training.command import Command
from harness.spec.own_training.own_trial import SEED_FIRST, TRAIN, alike
from harness.spec.trial import Value, canonical

ARGUMENTS = ("trial", "log", "checkpoint")  # what the function is given, in this order
NOT_HERE = {  # what other suites have -> why own training has it not
    "source": "source is computed from the files that a suite brings; leave it out",
    "metrics": "own training says what comes of a trial by outcomes={...}; leave metrics out",
    "probes": "probes look into training that the harness does itself; use log(...) and leave probes out",
    "save_models": "models are saved by the function that trains them; leave save_models out",
    "target_accuracy": 'own training names its target by an outcome, such as target={"accuracy": 0.9}',
}
Grids = tuple[Mapping[str, tuple[Value, ...]], ...]
Functions = Mapping[str, Callable[..., Any]]


def own_grids(
    axes: Mapping[str, Sequence[Any]], also: Sequence[Mapping[str, Sequence[Any]]], variables: Mapping[str, Any]
) -> tuple[Grids, Functions]:
    """All grids with their values in canonical form, and the functions that train, by name."""
    refuse(name for grid in (axes, *also) for name in grid)
    for changes in also:
        if unknown := [name for name in changes if name not in (*axes, TRAIN, *SEED_FIRST)]:
            raise SuiteError(f"`also` gives {unknown[0]!r}, which the first grid lacks; give it a value there too")
    functions: dict[str, Callable[..., Any]] = {}
    given = [{**axes, **changes} for changes in ({}, *also)]
    named = [{**grid, TRAIN: [_name(value, functions, variables) for value in grid[TRAIN]]} for grid in given]
    for function in functions.values():
        if isinstance(function, Command):
            function.check(axes)
    settings = {
        name: alike(name, (value for grid in named for value in _checked(name, grid[name])))
        for name in axes
        if name not in (TRAIN, *SEED_FIRST)
    }
    return tuple(
        {name: _values(name, values, settings.get(name)) for name, values in grid.items()} for grid in named
    ), functions


def refuse(names: Iterable[str]) -> None:
    """Raise SuiteError where one of these settings has no meaning in own training."""
    for name in names:
        if name in NOT_HERE:
            raise SuiteError(NOT_HERE[name])


def own_compare(grids: Grids, compare: Any) -> str:
    """The axis whose values are the arms: the one that is named, or the first that varies."""
    names = list(dict.fromkeys(name for grid in grids for name in grid))
    if compare is None:
        varying = [name for name in names if any(len(grid.get(name, ())) > 1 for grid in grids)]
        return next((name for name in varying if name not in ("lr", "seed")), TRAIN)
    if compare not in names:
        raise SuiteError(f"compare names no setting of this suite: {compare!r}; {nearest(str(compare), names)}")
    return str(compare)


def _name(value: Any, functions: dict[str, Callable[..., Any]], variables: Mapping[str, Any]) -> str:
    """The name of a function that trains, which is kept by it."""
    if not callable(value):
        raise SuiteError(f"train must be a function of {', '.join(ARGUMENTS)}, got {value!r:.80}")
    name = factory_name(TRAIN, value, variables)
    try:
        inspect.signature(value).bind(*ARGUMENTS)
    except TypeError as error:
        raise SuiteError(
            f"{name} must take the three arguments {', '.join(ARGUMENTS)}, and it can't: {error}"
        ) from error
    except ValueError:  # a function in C tells nobody what it takes
        pass
    if functions.setdefault(name, value) is not value:
        raise SuiteError(f"two functions that train are called {name!r}; give one another name")
    return name


def _checked(name: str, values: Sequence[Any]) -> Sequence[Any]:
    for value in values:
        try:
            hash(value)
        except TypeError:
            raise SuiteError(f"{name} must be text, a number, True or False, got {value!r:.80}") from None
    return values


def _values(name: str, values: Sequence[Any], kept: Mapping[Any, Value] | None) -> tuple[Value, ...]:
    """The values of an axis as trials have them; SuiteError where there is none, or one twice."""
    plain = [canonical(name, v) if name in SEED_FIRST else v if kept is None else kept[v] for v in values]
    if not plain:
        raise SuiteError(f"axis {name!r} is empty; give it a value or a list of values")
    if len(set(plain)) < len(plain):
        twice = next(value for i, value in enumerate(plain) if value in plain[:i])
        raise SuiteError(f"axis {name!r} has {twice!r} twice; every value stands once")
    return tuple(plain)
