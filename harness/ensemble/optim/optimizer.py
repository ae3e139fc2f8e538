"""What an optimizer is: an update rule for stacked parameters, and torch's optimizer that it is held to."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harness.errors import SuiteError
from harness.spec.optimizer_args import Args, args_of
from harness.spec.trial import Trial

OptimizerState = Mapping[str, Tensor]  # what the optimizer remembers of one parameter, by name
Parameters = Iterable[nn.Parameter] | Iterable[dict[str, Any]]  # or groups of parameters, as torch has them


def per_model(values: Float[Tensor, "M"], dims: int) -> Tensor:
    """Shape one value per model so that it broadcasts over weights of that many dimensions."""
    return values[(..., *[None] * (dims - 1))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the update of a weight of M models reads, one value for each, shaped to broadcast over the weight."""

    lr: Float[Tensor, "M ..."]
    momentum: Float[Tensor, "M ..."]
    weight_decay: Float[Tensor, "M ..."]
    any_decay: bool  # whether any model has a weight decay
    nesterov: bool
    numbers: Mapping[str, Float[Tensor, "M ..."]]  # that the optimizer makes of its arguments
    args: Args  # those of the first model: what is no number in them is the same for all
    corrections: Sequence[Float[Tensor, "M ..."]] = ()  # what differs from step to step, such as Adam's for its bias

    def at_step(self, lr_factor: float | Tensor, corrections: Sequence[Float[Tensor, "M"]]) -> "Settings":
        """The same with all learning rates multiplied, and with the corrections of a step."""
        lr = self.lr if isinstance(lr_factor, float) and lr_factor == 1.0 else self.lr * lr_factor
        shaped = tuple(per_model(correction, lr.ndim).to(lr.dtype) for correction in corrections)
        return replace(self, lr=lr, corrections=shaped)


Update = Callable[[Tensor, Tensor, OptimizerState, Settings], None]


def _floats(args: Args) -> dict[str, float]:
    return {name: value for name, value in args.items() if isinstance(value, float)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """An update rule, what it remembers of each parameter, and torch's optimizer of the same rule.

    The latter goes on from an exported checkpoint, and is what tests hold the rule to. `rest` is the rule for whatever
    is no hidden matrix, where an optimizer is for these alone.
    """

    update: Update  # of one parameter "M ...", in place
    args: Args = field(default_factory=dict)  # what a suite may give in optimizer_args -> its default
    numbers: Callable[[Args], Mapping[str, float]] = _floats  # what the update reads of them, in double precision
    state_names: Callable[[Sequence[Trial]], tuple[str, ...]]  # what it remembers of a parameter; zero at first
    initial: Callable[[Args], Mapping[str, float]] = lambda args: {}  # what of it is not zero at first
    corrections: Callable[[int, Args], tuple[float, ...]] = lambda step, args: ()  # for a step, counted from 0
    has_momentum: bool = False  # whether it reads the trial's momentum
    has_nesterov: bool = False
    torch_class: Callable[..., torch.optim.Optimizer]
    torch_args: Callable[[Args], Args] = lambda args: args  # what that takes of its arguments
    torch_state: Mapping[str, str]  # our name of what it remembers -> torch's
    torch_counts: Callable[[int, Args], Mapping[str, float]] = lambda steps, args: {}  # beside it, after some steps
    compiled_rule: int | None = None  # its number in native/kernels.cpp, whose slots are `state_names`; None: not there
    rest: "Optimizer | None" = None

    def torch_optimizer(self, parameters: Parameters, trial: Trial) -> torch.optim.Optimizer:
        """Torch's optimizer of the same rule, with the settings of a trial."""
        settings: dict[str, Any] = {"lr": trial.lr, "weight_decay": trial.weight_decay}
        settings |= {"momentum": trial.momentum} if self.has_momentum else {}
        settings |= {"nesterov": trial.nesterov} if self.has_nesterov else {}
        return self.torch_class(parameters, **settings, **self.torch_args(self.args_of(trial)))

    def rule_of(self, name: str, hidden_matrices: frozenset[str]) -> "Optimizer":
        """The rule for the weight of that name."""
        return self if self.rest is None or name in hidden_matrices else self.rest

    def args_of(self, trial: Trial) -> dict[str, Any]:
        """Its arguments in a trial; SuiteError where it doesn't take one, or not such a value."""
        given = args_of(trial.optimizer_args)
        merged = dict(self.args)
        for name, value in given.items():
            if name not in self.args:
                having = f"has {', '.join(sorted(self.args))}" if self.args else "has none"
                raise SuiteError(f"optimizer_args: {trial.optimizer} {having}; got {name!r}")
            merged[name] = _like(self.args[name], value, name)
        return merged


def _like(default: Any, value: Any, name: str) -> Any:
    """The value as one of the kind of the default: 1 where 0.5 could stand is 1.0."""
    if isinstance(default, tuple) and isinstance(value, tuple) and len(value) == len(default):
        return tuple(_like(item, part, name) for item, part in zip(default, value, strict=True))
    if type(default) is float and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise SuiteError(f"optimizer_args: {name} must be like {default!r}, got {value!r}")
    return value
