"""Schedules of a suite's own: a function of the step, or a scheduler of torch, of which a table is made.

A scheduler is stepped once on an optimizer whose learning rate is 1, so that its rates are factors on the trial's: with
max_lr=1.0 a cycle goes up to lr.
"""

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from harness.errors import NO_ERRORS, SuiteError, error_line

CHECKED = 50  # steps at which a function is tried, twice
MAX_TABLE = 10_000_000  # steps of a scheduler's table
MOMENTUM = 0.9  # of the optimizer that a scheduler moves: some want one that has it
SCHEDULER_ARGUMENT = "optimizer"  # what a function that returns a scheduler asks for first


def own_schedule(name: str, function: Callable[..., Any], steps: int) -> Callable[[int], float]:
    """The factor on lr after so many of `steps` updates; SuiteError where it is no function of the step alone."""
    if _makes_a_scheduler(function):
        return _table(name, function, steps).__getitem__
    factor = partial(_factor, name, function, steps)
    for step in dict.fromkeys(steps * i // CHECKED for i in range(CHECKED)):
        if (first := factor(step)) != (again := factor(step)):
            raise SuiteError(
                f"schedule {name!r} must be a function of the step alone, got {first} and {again} for step {step}"
            )
    return factor


def _factor(name: str, function: Callable[..., Any], steps: int, step: int) -> float:
    try:
        value = function(step, steps)
        factor = float(value)
    except NO_ERRORS:
        raise
    except BaseException as error:  # a function of the suite's own may raise anything
        raise SuiteError(
            f"schedule {name!r} must be a function of (step, steps) that returns a factor on lr; "
            f"for step {step} of {steps}: {error_line(error)}"
        ) from error
    if not 0 <= factor < math.inf:
        raise SuiteError(f"schedule {name!r} must return a factor that is zero or more, got {value!r} for step {step}")
    return factor


def _makes_a_scheduler(function: Callable[..., Any]) -> bool:
    inner = function.func if isinstance(function, partial) else function
    if inspect.isclass(inner) and issubclass(inner, LRScheduler | ReduceLROnPlateau):
        return True
    return next(iter(_parameters(function)), "") == SCHEDULER_ARGUMENT


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


@cache
def _table(name: str, function: Callable[..., Any], steps: int) -> tuple[float, ...]:
    """The learning rates that the scheduler gives an optimizer of lr 1, for every step."""
    if steps > MAX_TABLE:
        raise SuiteError(
            f"schedule {name!r} is a scheduler of torch, which takes at most {MAX_TABLE} steps, got {steps}"
        )
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=MOMENTUM)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the optimizer did not step
            scheduler = function(optimizer, **_asked_for(function, steps))
            if isinstance(scheduler, ReduceLROnPlateau):
                raise SuiteError(f"schedule {name!r} follows a loss; a schedule is a function of the step")
            rates = []
            for step in range(steps):
                rates.append(float(optimizer.param_groups[0]["lr"]))
                if step + 1 < steps:
                    scheduler.step()
    except (SuiteError, *NO_ERRORS):
        raise
    except BaseException as error:  # a scheduler may raise anything
        raise SuiteError(f"schedule {name!r} can't be stepped {steps} times: {error_line(error)}") from error
    if optimizer.param_groups[0]["momentum"] != MOMENTUM:
        raise SuiteError(
            f"schedule {name!r} moves momentum too, and a schedule moves lr alone; give it cycle_momentum=False: "
            f"functools.partial({getattr(function, '__name__', name)}, cycle_momentum=False)"
        )
    if not all(0 <= rate < math.inf for rate in rates):
        raise SuiteError(f"schedule {name!r} gives a learning rate that is not zero or more and finite")
    return tuple(rates)


def _asked_for(function: Callable[..., Any], steps: int) -> dict[str, Any]:
    """What a scheduler needs and is not given: how many steps there are, and how high a cycle goes."""
    known = {"T_max": steps, "total_steps": steps, "total_iters": steps, "max_lr": 1.0}
    parameters = _parameters(function)
    open_ones = {name for name, parameter in parameters.items() if parameter.default in (inspect.Parameter.empty, None)}
    bound = function.keywords if isinstance(function, partial) else {}
    return {name: value for name, value in known.items() if name in open_ones and name not in bound}
