"""Whether the optimizers of some trials can be had, said before anything trains."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from harness.ensemble.optim import OPTIMIZERS
from harness.ensemble.optim.own_optimizers import OwnOptimizer
from harness.ensemble.optim.own_steps import check_resuming, update_seconds
from harness.errors import SuiteError, lookup, name_is_taken
from harness.nn.module_state import parameters_of
from harness.nn.norms import norm_parameters
from harness.spec.trial import Trial

Functions = Mapping[str, Callable[..., Any]]


def check_optimizers(trials: Iterable[Trial], functions: Functions) -> None:
    """SuiteError where an optimizer is unknown, or has no use for what a trial gives it."""
    alike = {
        (trial.optimizer, trial.optimizer_args, trial.momentum > 0, trial.nesterov): trial
        for trial in trials
        if trial.optimizer not in functions
    }
    for trial in alike.values():
        _check_shipped(trial)


def _check_shipped(trial: Trial) -> None:
    optimizer = lookup(OPTIMIZERS, trial.optimizer, "optimizer")
    if trial.momentum and not optimizer.has_momentum:
        having = ", ".join(name for name, other in OPTIMIZERS.items() if other.has_momentum)
        own = "; its own is in optimizer_args" if "momentum" in optimizer.args else ""
        raise SuiteError(f"momentum is of {having}; with {trial.optimizer} it must be 0.0, got {trial.momentum}{own}")
    if trial.nesterov and not optimizer.has_nesterov:
        having = ", ".join(name for name, other in OPTIMIZERS.items() if other.has_nesterov)
        raise SuiteError(f"nesterov is of {having}; with {trial.optimizer} it must be False")
    if not trial.optimizer_args:
        return  # torch has no more to say of it, and to build its first optimizer takes a second
    try:
        for rule in filter(None, (optimizer, optimizer.rest)):
            rule.torch_optimizer([nn.Parameter(torch.zeros(2, 2))], trial)
    except (ValueError, TypeError) as error:  # what torch says of a value that is out of range
        raise SuiteError(f"optimizer {trial.optimizer!r} with {trial.optimizer_args}: {error}") from error


def check_own_optimizers(model: nn.Module, trials: Iterable[Trial], functions: Functions) -> None:
    """SuiteError where an optimizer of the suite's own can't train models like this one, or can't be resumed."""
    for trial in {trial.optimizer_args: trial for trial in trials if trial.optimizer in functions}.values():
        if trial.optimizer in OPTIMIZERS:
            raise name_is_taken("an optimizer", trial.optimizer)
        check_resuming(_own(trial, functions), trial, _weights(model), norm_parameters(model))


def note_on_own(model: nn.Module, trial: Trial, functions: Functions) -> str:
    """What an optimizer of the suite's own costs, for the user."""
    seconds = update_seconds(_own(trial, functions), trial, _weights(model), norm_parameters(model), time.perf_counter)
    return (
        f"optimizer {trial.optimizer!r} updates one model after the other, as torch does: about {1000 * seconds:.1g} "
        f"ms of a step for each model of {trial.model!r}; {', '.join(OPTIMIZERS)} update all models of a cohort at once"
    )


def _own(trial: Trial, functions: Functions) -> OwnOptimizer:
    return OwnOptimizer(name=trial.optimizer, function=functions[trial.optimizer])


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """The trained weights of a model, as of a cohort of one."""
    return {name: weight.detach()[None] for name, weight in parameters_of(model).items() if weight.requires_grad}
