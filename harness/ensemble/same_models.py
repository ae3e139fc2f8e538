"""Arms that are one model: settings that never reach it, though a suite compares by them.

An axis of MODEL_AXES changes a trial by nothing but the model that is built. Where a model of the suite's own does not
ask for it, or asks and builds the same model all the same, its trials are equal to the bit. Two models are the same if
their modules, their weights and what both put out are equal, in training and evaluation, over a few steps.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations
from typing import Any, Protocol, runtime_checkable

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.data.settings import DatasetKey, dataset_key
from harness.data.streamed import Examples
from harness.data.targets import ignores_positions
from harness.ensemble.backends.base import to_outputs
from harness.errors import HarnessError, SuiteError
from harness.nn.models import build
from harness.nn.norms import norm_entry
from harness.rng import preserved_generators, seed_default_generators
from harness.spec.cohorts import PER_MODEL
from harness.spec.own_code.arguments import arguments_of
from harness.spec.trial import Trial, Value
from harness.tasks.objective import objective_of
from harness.tasks.task import laid_out

ARGUMENTS = {  # axis -> the argument by which a model of the suite's own asks for it
    **{field.name: "norm" for field in fields(Trial) if field.name.partition("_")[0] == "norm"},
    **{name: name for name in ("activation", "norm_position", "qk_norm", "causal")},
}
MODEL_AXES = (*ARGUMENTS, "init", "init_scale")
PLAIN = (str, int, float, bool)
STEPS = 3
LR = 0.01

Factories = Mapping[str, Callable[..., Any]]


@runtime_checkable
class Data(Protocol):
    """What is needed of a dataset: arrays of examples and labels by split, the shape of an example."""

    @property
    def x(self) -> Mapping[str, Examples]: ...
    @property
    def y(self) -> Mapping[str, NDArray[Any]]: ...
    @property
    def outputs(self) -> int: ...
    @property
    def input_shape(self) -> tuple[int, ...]: ...
    @property
    def vocabulary(self) -> int | None: ...


def check_arms(
    compare: str, trials: Sequence[Trial], datasets: Mapping[DatasetKey, Data], factories: Factories
) -> list[str]:
    """Notes on settings that don't reach a model; SuiteError where an axis reaches none, so that arms are one model.

    That an axis reaches some models and not others is said: with these, a claim finds no difference.
    """
    notes: list[str] = []
    for axis in MODEL_AXES:
        if len({getattr(trial, axis) for trial in trials}) == 1:
            continue
        by_model: dict[str, list[list[Trial]]] = {}
        for group in _groups(axis, trials):
            by_model.setdefault(group[0].model, []).append(group)
        faults = {name: _fault(axis, groups, datasets, factories) for name, groups in by_model.items()}
        is_reached = any(fault is None for fault in faults.values())
        for name, fault in faults.items():
            if fault is not None and not is_reached:
                raise SuiteError(f"model {name!r} {fault.words('arms' if axis == compare else 'trials with')}")
            if fault is not None:
                notes.append(f"model {name!r} {fault.words('trials with')}")
        if axis == compare:
            told_apart = {name: groups for name, groups in by_model.items() if faults[name] is None}
            notes += _apparent(axis, told_apart, datasets, factories)
    return notes


@dataclass(frozen=True, slots=True)
class _Fault:
    """Two values of an axis that make the same model."""

    values: tuple[Value, Value]
    reason: str  # "does not use norm"

    def words(self, arms: str) -> str:
        one, other = self.values
        return f"{self.reason}: the {arms} {one} and {other} are the same model"


def _groups(axis: str, trials: Sequence[Trial]) -> Iterator[list[Trial]]:
    """Trials that differ in the axis alone, one of each of its values; one seed and one of each number is enough."""
    free = {*PER_MODEL, axis, *(("norm_batch",) if axis == "norm" else ())}
    names = [field.name for field in fields(Trial) if field.name not in free]
    groups: dict[tuple[Value, ...], dict[Value, Trial]] = {}
    for trial in trials:
        group = groups.setdefault(tuple(getattr(trial, name) for name in names), {})
        first = next(iter(group.values()), trial)
        alike = {name: getattr(first, name) for name in PER_MODEL - {axis}}
        group.setdefault(getattr(trial, axis), replace(trial, **alike))
    yield from (list(group.values()) for group in groups.values() if len(group) > 1)


def _fault(
    axis: str, groups: Sequence[Sequence[Trial]], datasets: Mapping[DatasetKey, Data], factories: Factories
) -> _Fault | None:
    """Two values of the axis at which a model is the same wherever both are tried; None where there are no such."""
    open_pairs: dict[tuple[Value, Value], None] = {}
    told_apart: set[tuple[Value, Value]] = set()
    function = factories.get(groups[0][0].model)
    is_asked_for = function is None or axis not in ARGUMENTS or ARGUMENTS[axis] in arguments_of(function)
    for group in groups:
        for one, other in combinations(group, 2):
            pair = (getattr(one, axis), getattr(other, axis))
            if pair in told_apart:
                continue
            never_reached = not is_asked_for and not any(_changes_models(trial, factories) for trial in (one, other))
            if never_reached or _are_same(one, other, datasets, factories):
                open_pairs[pair] = None
            else:
                told_apart.add(pair)
                open_pairs.pop(pair, None)
        if not open_pairs:
            return None
    if axis not in ARGUMENTS:
        reason = "has nothing that {axis} changes"
    elif function is not None and is_asked_for:
        reason = f"takes {ARGUMENTS[axis]} and ignores {{axis}}"
    else:
        reason = "does not use {axis}"
    return _Fault(next(iter(open_pairs)), reason.format(axis=axis))


def _changes_models(trial: Trial, factories: Factories) -> bool:
    """Whether its norm changes models that are built, without being asked for."""
    return norm_entry(trial, factories).transform is not None


def _are_same(one: Trial, other: Trial, datasets: Mapping[DatasetKey, Data], factories: Factories) -> bool:
    """Whether two trials have the same model: the same modules, weights and outputs."""
    data = datasets[dataset_key(one)]
    models = [build(trial, data.input_shape, data.outputs, factories, data.vocabulary) for trial in (one, other)]
    if _modules(models[0]) != _modules(models[1]) or not _are_equal(*(model.state_dict() for model in models)):
        return False
    return _act_alike(one, other, data, factories)


def _apparent(
    axis: str,
    by_model: Mapping[str, Sequence[Sequence[Trial]]],
    datasets: Mapping[DatasetKey, Data],
    factories: Factories,
) -> Iterator[str]:
    """Models of the suite's own whose modules differ between two arms, and which act alike all the same."""
    for model, (group, *_) in by_model.items():
        data = datasets[dataset_key(group[0])]
        for one, other in combinations(group, 2) if model in factories else ():
            if one.world_size == other.world_size == 1 and _act_alike(one, other, data, factories):
                values = f"{getattr(one, axis)} and {getattr(other, axis)}"
                yield (
                    f"model {model!r} puts out the same with the arms {values} over the first steps, though "
                    "what it is made of differs: does it use that?"
                )


def _modules(model: nn.Module) -> list[tuple[str, type, str, dict[str, Any]]]:
    """Name, type, settings and plain attributes of all modules."""
    return [
        (name, type(module), module.extra_repr(), {key: v for key, v in vars(module).items() if isinstance(v, PLAIN)})
        for name, module in model.named_modules()
    ]


def _act_alike(one: Trial, other: Trial, data: Data, factories: Factories) -> bool:
    """Whether the models of two trials put out the same to the bit; each is built in one process."""
    try:
        outputs = [_outputs(replace(trial, world_size=1), data, factories) for trial in (one, other)]
    except HarnessError:
        raise
    except Exception:  # noqa: BLE001 (a model of a suite's own that can't be trained: its trials will say why)
        return False
    return all(map(_same_bits, *outputs))


def _outputs(trial: Trial, data: Data, factories: Factories) -> list[Tensor]:
    """What a model puts out in training and evaluation, over a few steps of plain descent on one batch."""
    model = build(trial, data.input_shape, data.outputs, factories, data.vocabulary)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    x, y = (torch.from_numpy(arrays["train"][: trial.batch_size]) for arrays in (data.x, data.y))
    x = x.to(torch.get_default_dtype()) if x.is_floating_point() else x
    y = laid_out(y.to(torch.get_default_dtype()) if y.is_floating_point() else y)
    objective = objective_of(trial, factories, ignores_positions=ignores_positions(data.y))
    outputs: list[Tensor] = []
    with preserved_generators():
        seed_default_generators(trial.seed)
        for _ in range(STEPS):
            model.train()
            outputs.append(out := model(x))
            loss = objective.mean_losses(to_outputs(out.unsqueeze(0)), y).mean()
            gradients = torch.autograd.grad(loss, weights, allow_unused=True) if weights else ()
            with torch.no_grad():
                for weight, gradient in zip(weights, gradients, strict=True):
                    if gradient is not None:
                        weight.sub_(LR * gradient)
                model.eval()
                outputs.append(model(x))
    return [output.detach() for output in outputs]


def _are_equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two states are equal to the bit; one that holds more than tensors is told by what models put out."""
    if one.keys() != other.keys():
        return False
    return all(_same_bits(value, other[name]) for name, value in one.items() if isinstance(value, Tensor))


def _same_bits(one: Tensor, other: object) -> bool:
    if not isinstance(other, Tensor) or one.shape != other.shape or one.dtype != other.dtype:
        return False
    is_missing = one.isnan() & other.isnan() if one.is_floating_point() else torch.zeros_like(one, dtype=torch.bool)
    return bool(((one == other) | is_missing).all())
