"""Steps replayed: on a GPU, what a step computes is recorded once and then started as a whole, without Python.

Small models leave a GPU waiting for the next kernel. A recorded step (a CUDA graph) repeats its kernels on the same
memory, and all that Python put into them stays as it was; so whatever differs from step to step is written into tensors
of the recording before it is started: see now.py. All steps but those that warm up, which are taken back, are replays:
a run that is resumed computes what it would have computed.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from harness.training.state import TrainState
from harness.training.step_inputs import StepInputs

WARM_UP = 3  # steps before a recording, as torch asks for: libraries allocate and choose kernels at first

StepFn = Callable[[StepInputs], Tensor]  # takes a step, and returns the models' losses "M"
CapturedStep = tuple[Callable[[], None], Tensor]  # does the recorded work again; where its result is then


def cuda_graph(work: Callable[[], Tensor]) -> CapturedStep:
    """The work as a CUDA graph, after warming up on a stream of its own; RuntimeError where it waits for the device."""
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP - 1):
                work()
            with _no_waiting():
                work()
    finally:  # also where the work raised: what it started before that is still to be taken back
        torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph.replay, result


@contextmanager
def _no_waiting() -> Iterator[None]:
    """Let raise whatever waits for the device: in a recording it would leave torch's allocator in pieces."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls this a prototype, which doesn't see all
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


CAPTURES: dict[str, Callable[[Callable[[], Tensor]], CapturedStep]] = {"cuda": cuda_graph}  # type of a device -> how


def maybe_capture(state: TrainState, step_fn: StepFn) -> StepFn:
    """The steps of the program as they are, or replayed where its device can; says in its notes what stands against it.

    Models of a suite's own may do what can't be recorded, such as reading a number of the device; that is seen as they
    are recorded.
    """
    recorder = CAPTURES.get(state.fail_step.device.type)
    if recorder is None:
        return step_fn
    if reason := state.ensemble.backend.capture_blocker():
        state.notes.append(fallback_note(state, reason))
        return step_fn
    return GraphedStep(state, step_fn, recorder)


def fallback_note(state: TrainState, reason: str) -> str:
    trial = state.trials[0]
    what = f"model {trial.model!r} with norm {trial.norm!r}"
    return f"{what} is trained kernel by kernel, which is slower than replaying whole steps: {reason}"


class GraphedStep:
    """The steps of a program, recorded at the first call and replayed at each."""

    def __init__(
        self, state: TrainState, step_fn: StepFn, recorder: Callable[[Callable[[], Tensor]], CapturedStep]
    ) -> None:
        self.state, self.step_fn, self.capture = state, step_fn, recorder
        self.static_inputs: StepInputs | None = None  # what the recording reads
        self.captured: CapturedStep | None = None

    def __call__(self, now: StepInputs) -> Tensor:
        """Take a step; the losses, which hold until the next."""
        if self.static_inputs is None:
            self.static_inputs = now.as_static_buffers(self.state.loss_buffer)
            self._capture(self.static_inputs)
        if self.captured is None:
            return self.step_fn(now)
        assert self.static_inputs is not None
        self.static_inputs.copy_(now)
        replay, losses = self.captured
        replay()
        return losses

    def _capture(self, held: StepInputs) -> None:
        """Record a step and take back what it did."""
        state = {name: tensor.detach().clone() for name, tensor in self.state.state.items()}

        def work() -> Tensor:
            self.state.ensemble.backend.release_buffers()  # a probe may let them go; what is allocated here is kept
            return self.step_fn(held)

        try:
            self.captured = self.capture(work)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.state.notes.append(fallback_note(self.state, " ".join(str(error).split())[:200]))
        with torch.no_grad():
            for name, tensor in self.state.state.items():
                tensor.copy_(state[name])
