"""The steps of a suite's own optimizers, one model after the other.

Each model has an optimizer of its own, on its rows of the stacked weights. What it remembers is kept in slots, tensors
with the models as their first dimension, as that of all other optimizers is: there it is saved, restored and selected.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.ensemble.optim.optimizer import OptimizerState
from harness.ensemble.optim.own_optimizers import Layout, OwnOptimizer, parameter_groups
from harness.errors import NO_ERRORS, SuiteError, error_line
from harness.rng import preserved_generators, seed_default_generators, sub_seed
from harness.spec.trial import Trial

PLAIN = {bool: torch.bool, int: torch.int64, float: torch.float64}  # what is remembered besides tensors -> its slot
GROUP = "group "  # what a group goes by in slots, before its number
CHECKED_STEPS = 4  # that an optimizer is tried for
Slots = Mapping[str, OptimizerState]  # weight or group -> what is remembered of it -> "M ..."


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSteps:
    """The optimizers of some models at work, and the slots of what they remember."""

    own: OwnOptimizer
    trials: Sequence[Trial]
    optimizers: Sequence[torch.optim.Optimizer]
    parameters: Sequence[Mapping[str, nn.Parameter]]  # of each model, on its rows of the stacked weights
    rates: Sequence[Sequence[float | None]]  # lr of each group as it was made
    weights: Mapping[str, Tensor]  # "M ..."
    slots: Slots

    @classmethod
    def of(
        cls,
        own: OwnOptimizer,
        trials: Sequence[Trial],
        weights: Mapping[str, Tensor],
        norm_params: frozenset[str],
        slots: Slots,
        done: int,
    ) -> "OwnSteps":
        """The optimizers of these models after so many steps, with what the slots say."""
        parameters = [
            {name: nn.Parameter(weight.detach()[i]) for name, weight in weights.items()} for i in range(len(trials))
        ]
        optimizers = [
            own.make(parameter_groups(of_model, trial, norm_params), trial)
            for of_model, trial in zip(parameters, trials, strict=True)
        ]
        rates = [[group.get("lr") for group in optimizer.param_groups] for optimizer in optimizers]
        steps = cls(
            own=own,
            trials=trials,
            optimizers=optimizers,
            parameters=parameters,
            rates=rates,
            weights=weights,
            slots=slots,
        )
        for i in range(len(trials)) if done else ():
            steps._recall(i)
        return steps

    def update(self, grads: Mapping[str, Tensor], lr_factor: float, step: int) -> None:
        """Update every model, and keep what its optimizer remembers."""
        for i, (optimizer, parameters) in enumerate(zip(self.optimizers, self.parameters, strict=True)):
            for name, parameter in parameters.items():
                parameter.grad = grads[name][i]
            for group, rate in zip(optimizer.param_groups, self.rates[i], strict=True):
                if rate is not None:
                    group["lr"] = rate * lr_factor
            if self.own.layout.draws:
                seed_default_generators(sub_seed(self.trials[i].seed, "optimizer", step))
            optimizer.step()
            self._keep(i)
            for name, parameter in parameters.items():
                row = self.weights[name].detach()[i]
                if parameter.data_ptr() != row.data_ptr():  # the optimizer has put another tensor in its place
                    row.copy_(parameter.detach())
                    parameter.data = row

    def _keep(self, i: int) -> None:
        for place, memory in _memories(self.optimizers[i], self.parameters[i]).items():
            known = self.own.layout.memory.get(place, {})
            for slot in memory.keys() - known.keys() if place in self.parameters[i] else ():
                raise SuiteError(
                    f"optimizer {self.own.name!r} remembers {slot!r} of a weight after some steps only; make it in the "
                    "first"
                )
            for slot, kept in self.slots.get(place, {}).items():
                value, row = memory[slot], kept[i]
                if not isinstance(value, Tensor):
                    row.fill_(value)
                elif value.data_ptr() != row.data_ptr():
                    row.copy_(value)
                    memory[slot] = row  # most optimizers write into it from now on

    def _recall(self, i: int) -> None:
        for place, known in self.own.layout.memory.items():
            held = as_remembered(known, {slot: values[i] for slot, values in self.slots[place].items()})
            if place in self.parameters[i]:
                self.optimizers[i].state[self.parameters[i][place]] = held
            else:
                self.optimizers[i].param_groups[int(place.removeprefix(GROUP))].update(held)


def as_remembered(known: Mapping[str, Any], rows: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a model's rows of slots say, in the types in which its optimizer remembers it; None has no slot."""

    def value(slot: str, example: Any) -> Any:
        return rows[slot] if isinstance(example, Tensor) else type(example)(rows[slot].item())

    return {slot: None if example is None else value(slot, example) for slot, example in known.items()}


def _memories(optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, dict[str, Any]]:
    """What an optimizer remembers, as it holds it: of each weight, and in its groups."""
    of_weights = {name: optimizer.state[weight] for name, weight in parameters.items() if weight in optimizer.state}
    return {**of_weights, **{f"{GROUP}{i}": group for i, group in enumerate(optimizer.param_groups)}}


def with_layout(
    own: OwnOptimizer, trial: Trial, weights: Mapping[str, Tensor], norm_params: frozenset[str]
) -> OwnOptimizer:
    """The optimizer with what it remembers, as a few steps on copies of weights tell; SuiteError where they fail."""
    parameters = {name: nn.Parameter(weight.detach()[0].clone()) for name, weight in weights.items()}
    optimizer = own.make(parameter_groups(parameters, trial, norm_params), trial)
    before = [_plain_entries(group) for group in optimizer.param_groups]
    of_weights: dict[str, dict[str, Any]] = {}
    with preserved_generators():
        seed_default_generators(0)
        states = _generator_states()
        for step, grads in enumerate(_noise(weights)):
            for name, parameter in parameters.items():
                parameter.grad = grads[name][0]
            try:
                optimizer.step()
            except NO_ERRORS:
                raise
            except BaseException as error:  # an optimizer of the suite's own may raise anything
                raise SuiteError(f"optimizer {own.name!r} can't step: {error_line(error)}") from error
            if step == 0:
                of_weights = {place: dict(memory) for place, memory in _memories(optimizer, parameters).items()}
        draws = _generator_states() != states
    memory = {name: of_weights[name] for name in parameters if of_weights.get(name)}
    for i, (group, earlier) in enumerate(zip(optimizer.param_groups, before, strict=True)):
        changed = {name: value for name, value in _plain_entries(group).items() if _differ(earlier.get(name), value)}
        memory |= {f"{GROUP}{i}": changed} if changed else {}
    for held in memory.values():
        for name, value in held.items():
            if not (value is None or type(value) in PLAIN or isinstance(value, Tensor)):
                raise SuiteError(
                    f"optimizer {own.name!r} remembers {name!r} as a {type(value).__name__}; "
                    "what is saved are tensors and numbers"
                )
    return replace(own, layout=Layout(memory, draws))


def own_slots(own: OwnOptimizer, models: int, device: torch.device) -> dict[str, OptimizerState]:
    """Empty slots for what the optimizers of so many models remember after their first step."""
    return {
        place: {name: _empty(value, models, device) for name, value in known.items() if value is not None}
        for place, known in own.layout.memory.items()
    }


def _empty(value: Any, models: int, device: torch.device) -> Tensor:
    if isinstance(value, Tensor):
        return value.new_zeros((models, *value.shape), requires_grad=False)
    return torch.zeros(models, dtype=PLAIN[type(value)], device=device)


def check_resuming(own: OwnOptimizer, trial: Trial, weights: Mapping[str, Tensor], norm_params: frozenset[str]) -> None:
    """SuiteError where the optimizer, made anew from its slots, doesn't go on to the bit as it would have."""
    own = with_layout(own, trial, weights, norm_params)
    whole, parts = _tried(own, trial, weights, norm_params, 1), _tried(own, trial, weights, norm_params, CHECKED_STEPS)
    if not all(torch.equal(whole[name], parts[name]) for name in whole):
        raise SuiteError(
            f"optimizer {own.name!r} does not go on where it stopped: keep all that it remembers in self.state and "
            "self.param_groups, as torch's own do"
        )


def update_seconds(
    own: OwnOptimizer,
    trial: Trial,
    weights: Mapping[str, Tensor],
    norm_params: frozenset[str],
    clock: Callable[[], float],
) -> float:
    """About how long the update of one model takes: the shortest of a few."""
    own = with_layout(own, trial, weights, norm_params)
    tried = {name: weight.detach()[:1].clone() for name, weight in weights.items()}
    steps = OwnSteps.of(own, [trial], tried, norm_params, own_slots(own, 1, next(iter(tried.values())).device), 0)
    seconds = []
    with preserved_generators():
        for step, grads in enumerate(_noise(tried)):
            started = clock()
            steps.update(grads, 1.0, step)
            seconds.append(clock() - started)
    return min(seconds)


def _tried(
    own: OwnOptimizer, trial: Trial, weights: Mapping[str, Tensor], norm_params: frozenset[str], times_made: int
) -> dict[str, Tensor]:
    """The weights of a model after a few steps, its optimizer made anew so many times on the way."""
    tried = {name: weight.detach()[:1].clone() for name, weight in weights.items()}
    slots = own_slots(own, 1, next(iter(tried.values())).device)
    with preserved_generators():
        for step, grads in enumerate(_noise(tried)):
            if step < times_made:
                steps = OwnSteps.of(own, [trial], tried, norm_params, slots, step)
            steps.update(grads, 1 / (1 + step), step)
    return {name: weight.nan_to_num() for name, weight in tried.items()}


def _noise(weights: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Gradients of one model for a few steps."""
    rng = np.random.default_rng(0)
    return [
        {name: torch.from_numpy(rng.normal(size=weight[:1].shape)).to(weight) for name, weight in weights.items()}
        for _ in range(CHECKED_STEPS)
    ]


def _plain_entries(group: Mapping[str, Any]) -> dict[str, Any]:
    """What of a group may be remembered: all but the weights, and lr, which the schedule sets."""
    return {
        name: value.clone() if isinstance(value, Tensor) else value
        for name, value in group.items()
        if name not in ("params", "lr")
    }


def _differ(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return not torch.equal(one, other)
    return type(one) is not type(other) or one != other


def _generator_states() -> list[Any]:
    return [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]  # noqa: NPY002
