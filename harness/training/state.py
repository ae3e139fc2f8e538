"""The state of a cohort in training: models, data and optimizer on a device, and every tensor that training changes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.data.datasets import Dataset
from harness.data.streamed_tensors import AnyExamples
from harness.data.targets import ignores_positions
from harness.ensemble.backend_choice import REFERENCE, fastest_backend, select_backend
from harness.ensemble.compute_options import ComputeOptions
from harness.ensemble.distributed import SINGLE_PROCESS, DistContext
from harness.ensemble.ensemble import Ensemble, fuse
from harness.ensemble.forward_checks import draws_numbers
from harness.ensemble.module_copy import copy_module
from harness.ensemble.optim import OPTIMIZERS
from harness.ensemble.optim.adaptive_clipping import head_parameters
from harness.ensemble.optim.clipping import limits_like
from harness.ensemble.optim.muon import hidden_matrices
from harness.ensemble.optim.optimizer import OptimizerState, Settings
from harness.ensemble.optim.own_optimizers import OwnOptimizer
from harness.ensemble.optim.own_steps import own_slots, with_layout
from harness.ensemble.optim.schedules import Factors, lr_factors
from harness.ensemble.optim.settings import AnyOptimizer, ParamGroupKey, initial_slots, settings_of
from harness.ensemble.precision import PRECISIONS
from harness.errors import SuiteError, lookup
from harness.nn.frozen import freeze_unused
from harness.nn.losses import precise_dtype
from harness.nn.models import build, uses_own_modules
from harness.nn.module_state import input_dtype, to_precision
from harness.nn.norms import norm_parameters
from harness.nn.surgery import convert_from_sync_bn
from harness.probes import curve_names, probes_of
from harness.probes.layers import Layer, layers_of
from harness.spec.cohorts import BEGINNING
from harness.spec.measured import SPLITS
from harness.spec.trial import Trial
from harness.tasks.objective import Objective, objective_of
from harness.training.augmentation import check_augment
from harness.training.streaming.split_tensors import split_tensors

LOSS_BUFFER_STEPS = 64  # losses are added up so many steps at a time: for each by itself it costs more than the step
MIN_EVAL_BATCH = 64  # examples that are evaluated at once, or more:
EVAL_BATCHES = 2  # as many as in two training batches, which take no more memory than a training step
DEFAULT_EVALUATIONS = 20  # of a trial without eval_every
PROBE_EXAMPLES = 15  # training examples that a model is tried on before it trains
PROBE = "probe"  # what curves of probes have in the place of a split


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainState:
    """M models in training: their settings and data, and every tensor that training updates in place.

    Curves are called "val.loss", "batch.loss", "probe.sharpness" and so on. Those of probes have a row for each of
    `probe_steps`, all others one for each of `eval_steps`.
    """

    trials: tuple[Trial, ...]  # one for each model
    dataset: Dataset
    objective: Objective
    data: Mapping[str, tuple[AnyExamples, Tensor]]  # split -> examples, targets: see tasks/task.py
    ensemble: Ensemble
    optimizer: AnyOptimizer
    param_groups: Mapping[ParamGroupKey, Settings]
    norm_params: frozenset[str]  # names of the weights that belong to norm layers
    hidden_matrices: frozenset[str]  # names of those that some optimizers are for: see optim/muon.py
    head_params: frozenset[str]  # names of the weights of the last layer
    lr_factor: Factors  # on the learning rate of the update after so many steps
    adaptive_clips: Tensor | None  # "M"; None where no trial limits its gradient by the weights
    max_grad_norms: Tensor | None  # "M"; None where no trial limits its gradient
    steps: int
    steps_per_epoch: int
    eval_batch_size: int  # examples that are evaluated at once
    eval_steps: tuple[int, ...]  # validation and test examples are evaluated after so many updates; the first is 0
    probe_steps: tuple[int, ...]
    layers: tuple[Layer, ...]  # that probes look at
    dist: DistContext = SINGLE_PROCESS  # the ranks that train the model together, where it is one

    # What training changes, next to the ensemble's weights and buffers:
    optimizer_state: Mapping[str, Mapping[str, Tensor]]  # weight -> slot (such as "velocity") -> its tensor
    curves: Mapping[str, Tensor]  # name -> "E M"; "batch.loss" has sums over the steps since the row before
    fail_step: Tensor  # "M": the first step whose loss was not finite, -1 where there is none
    loss_buffer: Tensor  # "LOSS_BUFFER_STEPS M": a ring of the training losses that are not yet in batch_loss
    batch_loss: Tensor  # "M": the sum of the training losses since the last evaluation, in double precision
    best: Mapping[str, Tensor] = field(default_factory=dict)  # see best_checkpoint.py; empty unless it is asked for

    @property
    def model_state(self) -> dict[str, Tensor]:
        """Weights, buffers and optimizer state by name, each "M ..."."""
        slots = {
            f"slot/{slot}/{name}": tensor
            for name, tensors in self.optimizer_state.items()
            for slot, tensor in tensors.items()
        }
        return {
            **{f"weight/{name}": weight for name, weight in self.ensemble.weights.items()},
            **{f"buffer/{name}": buffer for name, buffer in self.ensemble.buffers.items()},
            **slots,
        }

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Everything that training changes, by name: with the number of steps done it is a whole checkpoint."""
        return {
            **self.model_state,
            **{f"curve/{name}": curve for name, curve in self.curves.items()},
            **{f"best/{name}": tensor for name, tensor in self.best.items()},
            "fail_step": self.fail_step,
            "loss_buffer": self.loss_buffer,
            "batch_loss": self.batch_loss,
        }

    @torch.no_grad()
    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Go back to where the saved tensors stood."""
        for name, tensor in self.tensors.items():
            tensor.copy_(saved[name])


def init_state(
    trials: Sequence[Trial],
    dataset: Dataset,
    device: torch.device,
    factories: Mapping[str, Callable[..., Any]],
    dist: DistContext = SINGLE_PROCESS,
) -> TrainState:
    """The state before the first step of these trials, which differ in PER_MODEL alone.

    Where several ranks train, there is one trial, and each rank has a state of it.
    """
    first, steps = trials[0], total_steps(trials[0], dataset)
    objective = objective_of(first, factories, ignores_positions=ignores_positions(dataset.y))
    check_augment(first, dataset.input_shape)
    models = _models(trials, dataset, factories)
    options = ComputeOptions.from_trial(first)
    # The models of this package draw in dropout layers alone.
    draws = uses_own_modules(first, factories) and draws_numbers(
        _on_one_process(models[0], dataset), probe_examples(first, dataset)
    )
    if dist.world_size > 1:
        ensemble = fuse(models, dataset.input_shape, device, "ddp", options, dist, draws=draws)
    else:
        backend = REFERENCE if draws else _backend(first, dataset, device, factories, len(models))
        ensemble = fuse(models, dataset.input_shape, device, backend, draws=draws).with_options(options)
    layers = layers_of(models[0], dataset.input_shape) if first.probes else ()
    norm_params = norm_parameters(models[0])
    hidden = hidden_matrices(models[0])
    optimizer, slots = _optimizer(trials, ensemble, norm_params, hidden, factories)
    weight = next(iter(ensemble.weights.values()))
    return TrainState(
        trials=tuple(trials),
        dataset=dataset,
        objective=objective,
        data=split_tensors(device, _example_dtype(first, dataset), dataset, trials),
        ensemble=ensemble,
        optimizer=optimizer,
        param_groups=settings_of(optimizer, trials, ensemble.weights, norm_params, hidden),
        norm_params=norm_params,
        hidden_matrices=hidden,
        head_params=head_parameters(models[0]),
        lr_factor=lr_factors(first, steps, factories),
        adaptive_clips=limits_like(trials, "adaptive_clip", weight),
        max_grad_norms=limits_like(trials, "max_grad_norm", weight),
        steps=steps,
        steps_per_epoch=steps_per_epoch(first, dataset),
        eval_batch_size=max(MIN_EVAL_BATCH, EVAL_BATCHES * first.batch_size),
        eval_steps=eval_steps_of(first, steps),
        probe_steps=probe_steps_of(first, steps),
        layers=layers,
        dist=dist,
        optimizer_state=slots,
        curves=_empty_curves(_curve_rows(first, objective, steps, layers), ensemble.size, device),
        fail_step=torch.full((ensemble.size,), -1, device=device),
        loss_buffer=torch.zeros(LOSS_BUFFER_STEPS, ensemble.size, device=device, dtype=input_dtype(models[0])),
        batch_loss=torch.zeros(ensemble.size, device=device, dtype=precise_dtype(device)),
    )


def _models(trials: Sequence[Trial], dataset: Dataset, factories: Mapping[str, Callable[..., Any]]) -> list[nn.Module]:
    """The model of each trial as it is before the first step; one for all trials that begin with the same."""
    dtype = lookup(PRECISIONS, trials[0].precision, "precision").dtype
    shape, outputs, vocabulary = dataset.input_shape, dataset.outputs, dataset.vocabulary
    beginnings = [tuple(getattr(trial, name) for name in BEGINNING) for trial in trials]
    made = {
        beginning: to_precision(build(trial, shape, outputs, factories, vocabulary), dtype)
        for beginning, trial in dict(zip(beginnings, trials, strict=True)).items()
    }
    models = [made[beginning] for beginning in beginnings]
    # What has no gradient is not updated in torch. An optimizer of the suite's own may change it for other reasons.
    if any(trial.weight_decay for trial in trials) or trials[0].optimizer in factories:
        freeze_unused(models, dataset.input_shape)
    return models


def _optimizer(
    trials: Sequence[Trial],
    ensemble: Ensemble,
    norm_params: frozenset[str],
    hidden: frozenset[str],
    factories: Mapping[str, Callable[..., Any]],
) -> tuple[AnyOptimizer, Mapping[str, OptimizerState]]:
    """The optimizer of these trials, and what it remembers before the first step."""
    first, weights = trials[0], ensemble.weights
    if first.optimizer not in factories:
        optimizer = lookup(OPTIMIZERS, first.optimizer, "optimizer")
        return optimizer, initial_slots(optimizer, trials, weights, hidden)
    bare = OwnOptimizer(name=first.optimizer, function=factories[first.optimizer])
    own = with_layout(bare, first, weights, norm_params)
    return own, own_slots(own, len(trials), next(iter(weights.values())).device)


def _backend(
    trial: Trial, dataset: Dataset, device: torch.device, factories: Mapping[str, Callable[..., Any]], models: int
) -> str:
    """The backend of so many models of such trials."""
    if trial.max_cohort_size == 1:  # what is asked for is the plain module
        return REFERENCE
    # A model that is the same whatever trials train together.
    standard = replace(trial, seed=0, init="default", init_scale=1.0)
    example = build(standard, dataset.input_shape, dataset.outputs, factories, dataset.vocabulary)
    examples = probe_examples(trial, dataset)
    if trains_in_turn(trial):
        return select_backend([example], dataset.input_shape, device, examples, in_turn=True)[0]
    return fastest_backend(example, dataset.input_shape, trial.batch_size, device, models, examples)


def probe_examples(trial: Trial, dataset: Dataset) -> Tensor:
    """A few training examples "N ..." from all over the split, in the trial's precision, to try a model on."""
    x = dataset.x["train"]
    rows = np.linspace(0, len(x) - 1, min(len(x), PROBE_EXAMPLES)).astype(int)
    return torch.from_numpy(x[rows]).to("cpu", _example_dtype(trial, dataset))


def _example_dtype(trial: Trial, dataset: Dataset) -> torch.dtype | None:
    """The type of examples on the device: tokens stay whole numbers, whatever the precision."""
    return lookup(PRECISIONS, trial.precision, "precision").dtype if dataset.vocabulary is None else torch.int64


def _on_one_process(model: nn.Module, dataset: Dataset) -> nn.Module:
    """The model as it can be tried by a single rank."""
    return convert_from_sync_bn(copy_module(model), dataset.input_shape)


def trains_in_turn(trial: Trial) -> bool:
    """Whether models are not stacked for the threads' sake: how kernels share a stack out depends on its size."""
    return trial.device == "cpu" and trial.threads > 1


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
    return tuple(sorted({*range(0, steps, trial.eval_every or max(1, steps // DEFAULT_EVALUATIONS)), steps}))


def probe_steps_of(trial: Trial, steps: int) -> tuple[int, ...]:
    """When to probe: with every evaluation, or before the first step, every so often, after the last."""
    if not trial.probes:
        return ()
    return eval_steps_of(replace(trial, eval_every=trial.probe_every or trial.eval_every), steps)


def _curve_rows(trial: Trial, objective: Objective, steps: int, layers: Sequence[Layer]) -> dict[str, int]:
    """The names of the curves, and how many rows each has."""
    evaluated = [*(f"{split}.{metric}" for split in SPLITS for metric in ("loss", *objective.metrics)), "batch.loss"]
    probed = [f"{PROBE}.{name}" for name in curve_names(probes_of(trial.probes), layers)]
    return {
        **dict.fromkeys(evaluated, len(eval_steps_of(trial, steps))),
        **dict.fromkeys(probed, len(probe_steps_of(trial, steps))),
    }


def _empty_curves(rows: Mapping[str, int], models: int, device: torch.device) -> dict[str, Tensor]:
    dtype = precise_dtype(device)
    return {name: torch.full((count, models), torch.nan, device=device, dtype=dtype) for name, count in rows.items()}
