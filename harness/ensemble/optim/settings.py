"""The settings of a cohort's updates, made from its trials: one set for all weights that are alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from harness.ensemble.optim.optimizer import Optimizer, OptimizerState, Settings, per_model
from harness.ensemble.optim.own_optimizers import OwnOptimizer
from harness.nn.losses import precise_dtype
from harness.spec.optimizer_args import Args
from harness.spec.trial import Trial

AnyOptimizer = Optimizer | OwnOptimizer
ParamGroupKey = tuple[int, torch.dtype, bool, bool]  # of a weight: dimensions, type, whether in a norm layer, hidden


def param_group_key(
    name: str, weight: Tensor, norm_params: frozenset[str], hidden_matrices: frozenset[str]
) -> ParamGroupKey:
    """The group of a weight "M ..." of that name."""
    return weight.ndim, weight.dtype, name in norm_params, name in hidden_matrices


def settings_of(
    optimizer: AnyOptimizer,
    trials: Sequence[Trial],
    weights: Mapping[str, Tensor],
    norm_params: frozenset[str],
    hidden_matrices: frozenset[str],
) -> dict[ParamGroupKey, Settings]:
    """What the updates of these weights read; `norm_params` are the names of those in norm layers."""
    return {
        param_group_key(name, weight, norm_params, hidden_matrices): _settings(
            optimizer.rule_of(name, hidden_matrices), trials, weight, is_norm=name in norm_params
        )
        for name, weight in weights.items()
    }


def _settings(rule: AnyOptimizer, trials: Sequence[Trial], weight: Tensor, *, is_norm: bool) -> Settings:
    """The settings of these trials for such a weight "M ...", on its device, in its type."""
    decays = [trial.weight_decay if trial.decay_norms or not is_norm else 0.0 for trial in trials]
    numbers = numbers_of(rule, trials)

    def column(values: list[float]) -> Tensor:
        return per_model(weight.new_tensor(values), weight.ndim)

    return Settings(
        lr=column([trial.lr for trial in trials]),
        momentum=column([trial.momentum for trial in trials]),
        weight_decay=column(decays),
        any_decay=any(decays),
        nesterov=trials[0].nesterov,
        numbers={name: column([each[name] for each in numbers]) for name in numbers[0]},
        args=rule.args_of(trials[0]),
    )


@dataclass(frozen=True, slots=True)
class Corrections:
    """What updates read of the step, for each of some models: see `corrections` of an Optimizer."""

    of_args: Sequence[Callable[[int], tuple[float, ...]]]  # step -> corrections, for each of the arguments there are
    rows: Sequence[int]  # of each model, which of these it has

    @classmethod
    def of(cls, optimizer: AnyOptimizer, trials: Sequence[Trial]) -> "Corrections":
        """Those of these trials' models; arguments are read once, and not at every step."""
        rule = optimizer.rest or optimizer
        distinct = {trial.optimizer_args: trial for trial in trials}
        texts = list(distinct)
        return cls(
            [_corrections_of(rule, rule.args_of(trial)) for trial in distinct.values()],
            [texts.index(trial.optimizer_args) for trial in trials],
        )

    def numbers(self, step: int) -> list[tuple[float, ...]]:
        """The corrections of the update after `step` for each model; none where the optimizer has none."""
        found = [corrections(step) for corrections in self.of_args]
        return [found[row] for row in self.rows] if found[0] else []

    def tensors(self, step: int, device: torch.device) -> tuple[Float[Tensor, "M"], ...]:
        """The same, of each correction one value for each model, in double precision."""
        columns = zip(*self.numbers(step), strict=True)
        return tuple(torch.tensor(column, dtype=precise_dtype(device), device=device) for column in columns)


def _corrections_of(rule: AnyOptimizer, args: Args) -> Callable[[int], tuple[float, ...]]:
    return lambda step: rule.corrections(step, args)


def numbers_of(optimizer: AnyOptimizer, trials: Sequence[Trial]) -> list[Mapping[str, float]]:
    """The numbers that the update of each model reads."""
    return [optimizer.numbers(optimizer.args_of(trial)) for trial in trials]


def initial_slots(
    optimizer: Optimizer, trials: Sequence[Trial], weights: Mapping[str, Tensor], hidden_matrices: frozenset[str]
) -> dict[str, OptimizerState]:
    """What the optimizer remembers of each weight before the first step."""
    slots: dict[str, OptimizerState] = {}
    for name, weight in weights.items():
        rule = optimizer.rule_of(name, hidden_matrices)
        slots[name] = {slot: torch.zeros_like(weight, requires_grad=False) for slot in rule.state_names(trials)}
        for i, trial in enumerate(trials):
            for slot, value in rule.initial(rule.args_of(trial)).items():
                slots[name][slot][i].fill_(value)
    return slots
