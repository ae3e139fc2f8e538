"""Many steps in one call of compiled code, where the backend has it: nothing but the step's inputs comes from Python.

How many steps a call takes changes no bit, so it follows the clock: a call is long enough to cost nothing, and short
enough for a run to stop when it is asked to.
"""

import ctypes
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from torch import Tensor

from harness.ensemble.backends.compiled import CompiledBackend
from harness.ensemble.native.structs import ModelsStruct, OptimizerStruct, pointers
from harness.ensemble.optim.clipping import CLIP_EPS, limits_of
from harness.ensemble.optim.optimizer import Optimizer
from harness.ensemble.optim.settings import Corrections, numbers_of
from harness.training.epochs import shuffle
from harness.training.state import LOSS_BUFFER_STEPS, TrainState
from harness.training.step_inputs import EpochBatches
from harness.training.streaming.batches import StreamedBatch, concatenated, streamed_batches

CALL_SECONDS = 0.2  # that a call takes at most, about
STREAMED_BYTES = 2**25  # of examples on disk that a call is given at most


@dataclass(slots=True)
class Pace:
    """How many steps a call takes."""

    steps: int = 1

    def follow(self, done: int, seconds: float) -> None:
        """Aim at CALL_SECONDS, after so many steps took so long; at most eight times as many as before."""
        per_step = max(seconds / done, 1e-9)
        self.steps = max(1, min(int(CALL_SECONDS / per_step), 8 * self.steps, LOSS_BUFFER_STEPS))


@dataclass(slots=True)
class CompiledSteps:
    """The models of a state, ready for compiled code: every pointer it needs."""

    state: TrainState
    backend: CompiledBackend
    models: ModelsStruct
    optimizer: OptimizerStruct
    corrections: Corrections
    streamed: Iterator[StreamedBatch] | None  # where examples stay on disk, the batches that are to come
    pace: Pace = field(default_factory=Pace)
    epoch: int = -1  # of the last step
    epoch_batches: EpochBatches | None = None  # as shuffled for it

    @classmethod
    def of(cls, state: TrainState, first: int) -> "CompiledSteps | None":
        """The updates after `first` steps; None where something of these trials has no compiled form."""
        backend, trial = state.ensemble.backend, state.trials[0]
        if (
            not isinstance(backend, CompiledBackend)
            or not isinstance(state.optimizer, Optimizer)
            or state.optimizer.compiled_rule is None
            or not state.objective.has_compiled_form
            or trial.augment != "none"
            or trial.accumulation_steps > 1
            or state.adaptive_clips is not None
        ):
            return None
        optimizer = _optimizer_struct(state, state.optimizer, backend)
        corrections = Corrections.of(state.optimizer, state.trials)
        streamed = None if isinstance(state.data["train"][0], Tensor) else streamed_batches(state, first)
        return cls(state, backend, backend.models(state.fail_step), optimizer, corrections, streamed)

    def advance(self, step: int, stop: int) -> tuple[int, str]:
        """Take steps from `step` on, not beyond `stop` nor the end of an epoch; how many are done then, and no note."""
        state, slot = self.state, step % LOSS_BUFFER_STEPS
        started = time.perf_counter()
        x, y, indices, count = self._examples(step, min(self.pace.steps, stop - step, LOSS_BUFFER_STEPS - slot))
        factors = [state.lr_factor(at) for at in range(step, step + count)]
        corrections = [
            number
            for at in range(step, step + count)
            for of_model in self.corrections.numbers(at)
            for number in of_model
        ]
        self.optimizer.factors = _doubles(factors)
        self.optimizer.corrections = _doubles(corrections)
        self.backend.call(
            self.backend.library.harness_train,
            self.models,
            self.backend.examples(x, shared=True, y=y, indices=indices),
            ctypes.byref(self.optimizer),
            ctypes.c_int64(state.trials[0].batch_size),
            ctypes.c_int64(step),
            ctypes.c_int64(count),
            ctypes.c_void_p(state.loss_buffer[slot].data_ptr()),
        )
        self.pace.follow(count, time.perf_counter() - started)
        return step + count, ""

    def _examples(self, step: int, most: int) -> tuple[Tensor, Tensor, Tensor | None, int]:
        """Training examples, targets, and the indices of so many steps as can be taken at once, at `most`."""
        state, (x, y), batch_size = self.state, self.state.data["train"], self.state.trials[0].batch_size
        if self.streamed is not None:
            batches = [next(self.streamed)]
            room = STREAMED_BYTES // batches[0].x.nbytes
            batches += islice(self.streamed, min(most, room) - 1 if room else 0)
            return *concatenated(batches, y, x.dtype), len(batches)
        assert isinstance(x, Tensor)
        epoch, batch = divmod(step, state.steps_per_epoch)
        if epoch != self.epoch:
            self.epoch, self.epoch_batches = epoch, shuffle(state, epoch)
        if self.epoch_batches is None:
            return x, y, None, most
        count = min(most, state.steps_per_epoch - batch)
        return x, y, self.epoch_batches.indices[:, batch * batch_size :], count


def _optimizer_struct(state: TrainState, optimizer: Optimizer, backend: CompiledBackend) -> OptimizerStruct:
    trials, slots = state.trials, optimizer.state_names(state.trials)
    numbers = numbers_of(optimizer, trials)
    return OptimizerStruct(
        rule=optimizer.compiled_rule,
        nesterov=trials[0].nesterov,
        slot_count=len(slots),
        slots=pointers([state.optimizer_state[name][slot] for slot in slots for name in backend.network.parameters]),
        lr=_doubles([trial.lr for trial in trials]),
        momentum=_doubles([trial.momentum for trial in trials]),
        weight_decay=_doubles([trial.weight_decay for trial in trials]),
        norm_weight_decay=_doubles([trial.weight_decay if trial.decay_norms else 0.0 for trial in trials]),
        max_grad_norm=_doubles(limits_of(trials, "max_grad_norm")) if state.max_grad_norms is not None else None,
        **{name: _doubles([each[name] for each in numbers]) for name in numbers[0]},
        clip_eps=CLIP_EPS,
    )


def _doubles(values: list[float]) -> "ctypes.Array[ctypes.c_double]":
    return (ctypes.c_double * len(values))(*values)
