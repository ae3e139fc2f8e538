"""One update after the other, by whatever backend: what every model can be trained by."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from harness.ensemble.optim import update
from harness.ensemble.optim.adaptive_clipping import adaptive_clip_grad
from harness.ensemble.optim.clipping import clip_grad_norm
from harness.ensemble.optim.optimizer import Optimizer
from harness.ensemble.optim.own_optimizers import OwnOptimizer
from harness.ensemble.optim.own_steps import OwnSteps
from harness.ensemble.optim.settings import Corrections, param_group_key
from harness.probes.context import Batch
from harness.rng import sub_seed
from harness.tasks.task import gather_targets
from harness.training.cuda_graphs import CAPTURES, StepFn, fallback_note, maybe_capture
from harness.training.epochs import load_batch
from harness.training.state import LOSS_BUFFER_STEPS, TrainState
from harness.training.step_inputs import EpochBatches, StepInputs
from harness.training.streaming.batches import with_window


@dataclass(slots=True)
class SingleSteps:
    """The updates of a state, each of them a call of `step_fn`, which is captured at the first where a device can."""

    state: TrainState
    corrections: Corrections
    batches: Iterator[tuple[EpochBatches, ...]]  # of the updates that are to come
    step_fn: StepFn | None = None

    @classmethod
    def of(cls, state: TrainState, first: int) -> "SingleSteps":
        """The updates of a state after `first` steps, whatever its trials are."""
        state, batches = with_window(state, first)
        return cls(state, Corrections.of(state.optimizer, state.trials), batches)

    def advance(self, step: int, stop: int) -> tuple[int, str]:  # noqa: ARG002
        """Take the next step, keep its losses, and return how many are done and a note for the user."""
        of_step = self.corrections.tensors(step, self.state.fail_step.device)
        inputs = StepInputs(step, next(self.batches), self.state.lr_factor(step), of_step)
        note = ""
        if self.step_fn is None:
            self.step_fn, note = _step_fn(self.state, step, inputs)
        self.state.loss_buffer[step % LOSS_BUFFER_STEPS] = self.step_fn(inputs)
        return step + 1, note


def _step_fn(state: TrainState, done: int, inputs: StepInputs) -> tuple[StepFn, str]:
    """How the models are updated after so many steps, and a note for the user."""
    if not isinstance(state.optimizer, OwnOptimizer):
        return maybe_capture(state, partial(_update, state, state.optimizer), inputs)
    own_steps = OwnSteps.of(
        state.optimizer, state.trials, state.ensemble.weights, state.norm_params, state.optimizer_state, done
    )
    is_captured = state.fail_step.device.type in CAPTURES
    note = fallback_note(state, f"optimizer {state.optimizer.name!r} is the suite's own") if is_captured else ""
    return partial(_update_in_turn, state, own_steps), note


def _update_in_turn(state: TrainState, own_steps: OwnSteps, inputs: StepInputs) -> Float[Tensor, "M"]:
    """Update every model by an optimizer of its own, and return the losses before."""
    losses, grads = _clipped_gradients(state, inputs)
    assert isinstance(inputs.lr_factor, float)
    own_steps.update(grads, inputs.lr_factor, inputs.step)
    return losses


def _update(state: TrainState, optimizer: Optimizer, inputs: StepInputs) -> Float[Tensor, "M"]:
    """Update every model, and return the losses before; reads nothing but inputs and tensors: it may be captured."""
    losses, grads = _clipped_gradients(state, inputs)
    groups = {key: group.at_step(inputs.lr_factor, inputs.corrections) for key, group in state.param_groups.items()}
    weights, hidden = state.ensemble.weights, state.hidden_matrices
    settings = {
        name: groups[param_group_key(name, weight, state.norm_params, hidden)] for name, weight in weights.items()
    }
    update(optimizer, weights, grads, state.optimizer_state, settings, hidden)
    return losses


def _clipped_gradients(state: TrainState, inputs: StepInputs) -> tuple[Float[Tensor, "M"], Mapping[str, Tensor]]:
    """The models' mean losses over a batch and their gradients, scaled down where they are above a limit."""
    losses, grads = _gradients(state, inputs)
    if state.adaptive_clips is not None:
        grads = adaptive_clip_grad(grads, state.ensemble.weights, state.adaptive_clips, state.head_params)
    return losses, grads if state.max_grad_norms is None else clip_grad_norm(grads, state.max_grad_norms)


def _gradients(state: TrainState, inputs: StepInputs) -> tuple[Float[Tensor, "M"], Mapping[str, Tensor]]:
    """The models' mean losses over a batch and their gradients, accumulated over its micro-batches.

    On several ranks the losses are those of this rank's examples; the mean over the ranks is that over the batch.
    """
    trial, ensemble = state.trials[0], state.ensemble
    _seed_dropout(state, inputs.step)
    batch_size = _size_of_batch(state, inputs)
    losses, grads = None, None
    for part in range(trial.accumulation_steps):
        batch = _micro_batch(state, inputs, part)
        ensemble.count_batches(inputs.step * trial.accumulation_steps + part)
        loss_fn = partial(state.objective.loss_and_gradient, y=batch.y, batch_size=batch_size)
        is_final = part + 1 == trial.accumulation_steps
        part_losses, grads = ensemble.gradients(
            batch.x, shared=batch.shared, loss_fn=loss_fn, accumulate_into=grads, final=is_final
        )
        losses = part_losses if losses is None else losses + part_losses
    assert losses is not None
    assert grads is not None
    return losses, grads


def _size_of_batch(state: TrainState, inputs: StepInputs) -> float | Tensor:
    """A rank's share of the examples of a batch, or of what these are worth where some positions don't count."""
    ranks = state.dist.world_size
    if not state.objective.ignores_positions:
        return state.trials[0].batch_size / ranks
    y = state.data["train"][1]
    parts = [gather_targets(y, part.indices) for part in inputs.micro_batches] or [state.dist.local_chunk(y, -1)]
    worth = torch.stack([torch.as_tensor(state.objective.task.worth(part)) for part in parts]).sum(0)
    state.dist.all_reduce_sum(worth)
    return worth / ranks


def _micro_batch(state: TrainState, inputs: StepInputs, part: int) -> Batch:
    """This rank's examples and targets of one of the batch's micro-batches."""
    if inputs.micro_batches:
        return load_batch(state, inputs.micro_batches[part])
    accumulation_steps, (x, y) = state.trials[0].accumulation_steps, state.data["train"]
    assert isinstance(x, Tensor)
    x, y = x.tensor_split(accumulation_steps)[part], y.tensor_split(accumulation_steps, -1)[part]
    return Batch(state.dist.local_chunk(x), state.dist.local_chunk(y, -1), shared=True)


def _seed_dropout(state: TrainState, step: int) -> None:
    """Make what each model draws in forward passes (dropout) a function of its own seed, the step and the rank."""
    if state.ensemble.is_stochastic:
        rank = state.dist.rank
        name = f"noise/{rank}" if rank else "noise"
        state.ensemble.seed_draws([sub_seed(trial.seed, name, step) for trial in state.trials])
