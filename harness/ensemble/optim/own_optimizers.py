"""Optimizers of a suite's own: any class of torch.optim's form, or a function of parameters that returns one.

How they update the models of a cohort is own_steps.py's.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from harness.ensemble.optim.optimizer import Parameters
from harness.errors import NO_ERRORS, SuiteError, error_line
from harness.spec.optimizer_args import Args, args_of
from harness.spec.trial import Trial

SETTINGS = ("lr", "momentum", "nesterov", "weight_decay")  # of a trial, that a function may ask for by name


@dataclass(frozen=True, slots=True)
class Layout:
    """What an optimizer remembers after its first step, of each weight and of each of its groups ("group 0")."""

    memory: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)  # name -> a value of that kind
    draws: bool = False  # whether its steps draw random numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnOptimizer:
    """A function of parameters that returns an optimizer of torch's form, with what Optimizer says of a rule."""

    name: str
    function: Callable[..., torch.optim.Optimizer]
    layout: Layout = field(default_factory=Layout)
    compiled_rule: None = None
    rest: None = None

    def rule_of(self, name: str, hidden_matrices: frozenset[str]) -> "OwnOptimizer":  # noqa: ARG002
        """The rule for the weight of that name."""
        return self

    def args_of(self, trial: Trial) -> dict[str, Any]:
        """What the trial gives it besides its settings."""
        return dict(args_of(trial.optimizer_args))

    def numbers(self, args: Args) -> dict[str, float]:  # noqa: ARG002
        """Nothing that an update of this package would read."""
        return {}

    def corrections(self, step: int, args: Args) -> tuple[float, ...]:  # noqa: ARG002
        """Nothing likewise."""
        return ()

    def make(self, parameters: Parameters, trial: Trial) -> torch.optim.Optimizer:
        """The optimizer of one model; SuiteError where it can't be one."""
        given = {**self._settings(trial), **self.args_of(trial)}
        try:
            optimizer: Any = self.function(parameters, **given)
        except NO_ERRORS:
            raise
        except BaseException as error:  # a function of the suite's own may raise anything
            raise SuiteError(f"optimizer {self.name!r} can't be made with {given}: {error_line(error)}") from error
        if not isinstance(optimizer, torch.optim.Optimizer):
            kind = type(optimizer).__name__
            raise SuiteError(f"optimizer {self.name!r} must return a torch.optim.Optimizer, got {kind}")
        needed = [p for p in inspect.signature(optimizer.step).parameters.values() if p.default is p.empty]
        if any(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in needed):
            raise SuiteError(
                f"optimizer {self.name!r} needs a closure, to evaluate the loss several times in a step; "
                "give one that steps on gradients alone"
            )
        return optimizer

    def _settings(self, trial: Trial) -> dict[str, Any]:
        """The settings of the trial that it asks for; SuiteError where it has no use for one that is set."""
        parameters = inspect.signature(self.function).parameters
        bound = self.function.keywords if isinstance(self.function, partial) else {}
        takes = [name for name in parameters if name not in bound]
        args = self.args_of(trial)
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        if "lr" not in takes:
            raise SuiteError(f"optimizer {self.name!r} must take lr, the learning rate of a trial; it takes {takes}")
        unused = [name for name in SETTINGS if getattr(trial, name) and name not in takes]
        strangers = [name for name in args if (name not in takes and not takes_any) or name in SETTINGS]
        for name in (*unused, *strangers):
            others = ", ".join(sorted(set(takes[1:]) - set(SETTINGS))) or "nothing"
            if name in SETTINGS and name in takes:
                raise SuiteError(f"optimizer_args: {name} is a setting of the trial; write {name}=... beside it")
            raise SuiteError(
                f"optimizer {self.name!r} takes no {name}; besides settings of the trial it takes {others}"
            )
        return {name: getattr(trial, name) for name in SETTINGS if name in takes}


def parameter_groups(parameters: Mapping[str, nn.Parameter], trial: Trial, norm_params: frozenset[str]) -> Parameters:
    """The parameters as an optimizer is given them: those of norm layers apart where they don't decay."""
    spared = [weight for name, weight in parameters.items() if name in norm_params]
    if trial.decay_norms or not spared:
        return list(parameters.values())
    others = [weight for name, weight in parameters.items() if name not in norm_params]
    groups: list[dict[str, Any]] = [{"params": others}, {"params": spared, "weight_decay": 0.0}]
    return groups
