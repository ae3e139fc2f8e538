"""A cohort made ready to train: models, data and optimizer on a device, and every tensor that training changes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.datasets import Dataset
from harness.ensemble.backend_choice import fuse_fastest
from harness.ensemble.compute_options import ComputeOptions
from harness.ensemble.distributed import SINGLE_PROCESS, DistContext
from harness.ensemble.ensemble import Ensemble, fuse
from harness.ensemble.optim import OPTIMIZERS, Optimizer, ParamGroupKey, Settings, max_grad_norms, settings_of
from harness.ensemble.precision import PRECISIONS
from harness.errors import SuiteError, lookup
from harness.nn.models import build
from harness.nn.norms import norm_parameters
from harness.probes import curves_of, probes_of
from harness.probes.layers import Layer, layers_of
from harness.spec.trial import Trial
from harness.training.augmentation import check_augment, noisy_labels

LOSS_BUFFER_STEPS = (
    64  # steps whose losses are kept before they are added up: one at a time costs more than the rest of a step
)
FEWEST_EXAMPLES, BATCHES = 64, 2  # of one piece of an evaluation: it takes no more memory than a training step
DEFAULT_EVALUATIONS = 20  # of a run that doesn't say how often
SPLITS, METRICS = ("train", "val", "test"), ("loss", "accuracy")
PROBE = "probe"  # what curves of probes have in the place of a split


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainState:
    """M models in training. What changes is changed in place, so `tensors` always shows where the program stands."""

    trials: tuple[Trial, ...]  # fewer than M where the stack is padded
    dataset: Dataset
    data: Mapping[str, tuple[Tensor, Tensor]]  # split -> examples, labels: "N", or "M N" where some are noise
    ensemble: Ensemble
    optimizer: Optimizer
    param_groups: Mapping[ParamGroupKey, Settings]  # kind of a weight -> what its update reads
    norm_params: frozenset[str]  # the weights that belong to norm layers
    max_grad_norms: Tensor | None  # "M": the largest norm of a model's gradient, where there is any
    optimizer_state: Mapping[str, Mapping[str, Tensor]]  # weight -> what the optimizer remembers of it
    eval_batch_size: int  # examples that are evaluated at once
    steps: int
    steps_per_epoch: int
    eval_steps: tuple[int, ...]  # steps after which validation and test examples are evaluated; the first is 0
    probe_steps: tuple[int, ...]  # steps after which probes are taken
    layers: tuple[Layer, ...]  # that probes look at
    # "val.loss" -> "E M", a row for each mark; of "batch.loss", the sum of all steps so far; of "probe.sharpness" and
    # its like, a row for each of the probe_marks
    curves: Mapping[str, Tensor]
    fail_step: Tensor  # "M": the step whose loss was the first that is not finite, -1 if there is none
    loss_buffer: (
        Tensor  # "RECENT M": training losses of the last steps, in a ring; `batch_loss` has all but those since a mark
    )
    batch_loss: Tensor  # "M": training losses of all steps, added up in double precision
    dist: DistContext = SINGLE_PROCESS  # the processes that train the model, where it is one and they are several
    best: Mapping[str, Tensor] = field(default_factory=dict)  # of each model: see best.py; empty unless asked for

    active: list[tuple["TrainState", list[int]]] = field(
        default_factory=list
    )  # what trains on in place of all: see compact.py
    notes: list[str] = field(default_factory=list)  # what a user should know of how it trains

    @property
    def state(self) -> dict[str, Tensor]:
        """What the models are and what the optimizer remembers of them, by name, each with the models first."""
        return {
            **{f"weight/{name}": weight for name, weight in self.ensemble.weights.items()},
            **{f"buffer/{name}": buffer for name, buffer in self.ensemble.buffers.items()},
            **{
                f"slot/{slot}/{name}": kept
                for name, slots in self.optimizer_state.items()
                for slot, kept in slots.items()
            },
        }

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Everything that training changes, by name: with the number of steps done it is a whole checkpoint."""
        self.write_back()
        return self._own

    def write_back(self) -> None:
        """Bring the tensors of all models to where the part of them that trains has come."""
        for part, rows in self.active:
            with torch.no_grad():
                for name, tensor in part.tensors.items():
                    whole = self._own[name]
                    models_last = name.startswith("curve/") or name == "recent"
                    whole.index_copy_(int(models_last), torch.tensor(rows, device=whole.device), tensor)

    @property
    def _own(self) -> dict[str, Tensor]:
        return {
            **self.state,
            **{f"curve/{name}": curve for name, curve in self.curves.items()},
            **{f"best/{name}": kept for name, kept in self.best.items()},
            "fail_step": self.fail_step,
            "recent": self.loss_buffer,
            "batch_loss": self.batch_loss,
        }

    @torch.no_grad()
    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Go back to where the saved tensors stood."""
        for name, tensor in self.tensors.items():
            tensor.copy_(saved[name])


def init_state(
    trials: Sequence[Trial], dataset: Dataset, device: torch.device, factories: Mapping[str, Callable[..., Any]],
    dist: DistContext = SINGLE_PROCESS,
) -> TrainState:  # fmt: skip
    """The program that trains these trials, which differ in PER_MODEL alone, at its first step.

    Where several ranks train, there is one trial, and each rank has a program of it.
    """
    first, steps = trials[0], total_steps(trials[0], dataset)
    check_augment(first, dataset.input_shape)
    dtype = lookup(PRECISIONS, first.precision, "precision").dtype
    models = [build(trial, dataset.input_shape, dataset.classes, factories).to(dtype) for trial in trials]
    stack = _fused(models, first, dataset.input_shape, device, dist)
    padded = [*trials, *[trials[-1]] * (stack.size - len(trials))]
    layers = layers_of(models[0], dataset.input_shape) if first.probes else ()
    norms = norm_parameters(models[0])
    optimizer = lookup(OPTIMIZERS, first.optimizer, "optimizer")
    like = next(iter(stack.weights.values()))
    return TrainState(
        trials=tuple(trials),
        dataset=dataset,
        data=_data(device, dataset, padded),
        ensemble=stack,
        optimizer=optimizer,
        param_groups=settings_of(padded, stack.weights, norms),
        norm_params=norms,
        max_grad_norms=max_grad_norms(padded, like),
        optimizer_state=_empty_slots(optimizer.state_names(padded), stack),
        eval_batch_size=max(FEWEST_EXAMPLES, BATCHES * first.batch_size),
        steps=steps,
        steps_per_epoch=steps_per_epoch(first, dataset),
        eval_steps=eval_steps_of(first, steps),
        probe_steps=probe_steps_of(first, steps),
        layers=layers,
        curves=_empty_curves(_curve_rows(first, steps, layers), stack.size, device),
        fail_step=torch.full((stack.size,), -1, device=device),
        loss_buffer=torch.zeros(LOSS_BUFFER_STEPS, stack.size, device=device, dtype=like.dtype),
        batch_loss=torch.zeros(stack.size, device=device, dtype=_precise(device)),
        dist=dist,
    )


def _empty_slots(remembered: Sequence[str], stack: Ensemble) -> dict[str, dict[str, Tensor]]:
    return {
        name: {slot: torch.zeros_like(weight, requires_grad=False) for slot in remembered}
        for name, weight in stack.weights.items()
    }


def _fused(
    models: Sequence[nn.Module], trial: Trial, input_shape: tuple[int, ...], device: torch.device, dist: DistContext
) -> Ensemble:
    if dist.world_size > 1:
        return fuse(models, input_shape, device, "ddp", ComputeOptions.from_trial(trial), dist)
    if trial.max_cohort_size == 1:  # what is asked for is the model as it is
        stack = fuse(models, input_shape, device, "loop")
    else:
        stack = fuse_fastest(models, input_shape, trial.batch_size, device)
    return stack.with_options(ComputeOptions.from_trial(trial))


def steps_per_epoch(trial: Trial, dataset: Dataset) -> int:
    """Steps in an epoch: every batch is full, what is left over sits out until the next shuffle."""
    if trial.batch_size > dataset.size("train"):
        raise SuiteError(
            f"batch_size must be at most the {dataset.size('train')} training examples of {trial.dataset!r}, "
            f"got {trial.batch_size}"
        )
    return dataset.size("train") // trial.batch_size


def total_steps(trial: Trial, dataset: Dataset) -> int:
    """The updates of a trial, whether it counts steps or epochs."""
    return trial.steps if trial.steps is not None else (trial.epochs or 1) * steps_per_epoch(trial, dataset)


def eval_steps_of(trial: Trial, steps: int) -> tuple[int, ...]:
    """When to evaluate: before the first step, every so often, after the last."""
    every = trial.eval_every or max(1, steps // DEFAULT_EVALUATIONS)
    return tuple(sorted({*range(0, steps, every), steps}))


def probe_steps_of(trial: Trial, steps: int) -> tuple[int, ...]:
    """When to probe: with every evaluation, or before the first step, every so often, after the last."""
    if not trial.probes:
        return ()
    return eval_steps_of(replace(trial, eval_every=trial.probe_every or trial.eval_every), steps)


def _data(device: torch.device, dataset: Dataset, trials: Sequence[Trial]) -> dict[str, tuple[Tensor, Tensor]]:
    """The examples of each split in the trials' precision, and their labels; of training, as each model gets them."""
    dtype = PRECISIONS[trials[0].precision].dtype
    x = {split: torch.from_numpy(dataset.x[split]).to(device, dtype) for split in SPLITS}
    y = {split: torch.from_numpy(dataset.y[split]).to(device) for split in SPLITS}
    y["train"] = noisy_labels(y["train"], dataset.classes, trials)
    return {split: (x[split], y[split]) for split in SPLITS}


def _curve_rows(trial: Trial, steps: int, layers: Sequence[Layer]) -> dict[str, int]:
    """The names of the curves, and how many rows each has."""
    evaluated = [*(f"{split}.{metric}" for split in SPLITS for metric in METRICS), "batch.loss"]
    probed = [f"{PROBE}.{name}" for name in curves_of(probes_of(trial.probes), layers)]
    marks, probe_marks = len(eval_steps_of(trial, steps)), len(probe_steps_of(trial, steps))
    return {**dict.fromkeys(evaluated, marks), **dict.fromkeys(probed, probe_marks)}


def _empty_curves(rows: Mapping[str, int], models: int, device: torch.device) -> dict[str, Tensor]:
    precise = _precise(device)
    return {name: torch.full((marks, models), torch.nan, device=device, dtype=precise) for name, marks in rows.items()}


def _precise(device: torch.device) -> torch.dtype:
    """The type in which sums and results are kept: Apple's devices have no double precision."""
    return torch.float32 if device.type == "mps" else torch.float64
