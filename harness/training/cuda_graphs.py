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

from harness.ensemble.ensemble import Stack
from harness.training.state import Program
from harness.training.step_inputs import Now

WARM_UP = 3  # steps before a recording, as torch asks for: libraries allocate and choose kernels at first

Advance = Callable[[Now], Tensor]  # takes a step, and returns the models' losses "M"
Recording = tuple[Callable[[], None], Tensor]  # does the recorded work again; where its result is then


def cuda_graph(work: Callable[[], Tensor]) -> Recording:
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


RECORDERS: dict[str, Callable[[Callable[[], Tensor]], Recording]] = {"cuda": cuda_graph}  # type of a device -> how


def fastest(program: Program, advance: Advance) -> Advance:
    """The steps of the program as they are, or replayed where its device can; says in its notes what stands against it.

    Models of a suite's own may do what can't be recorded, such as reading a number of the device; that is seen as they
    are recorded.
    """
    recorder = RECORDERS.get(program.fail_step.device.type)
    if recorder is None:
        return advance
    if reason := _against(program.stack):
        program.notes.append(_told(program, reason))
        return advance
    return Replayed(program, advance, recorder)


def _against(stack: Stack) -> str:
    if stack.replica is not None:
        return "several ranks train it together"
    if stack.draws:
        return "its forward pass draws random numbers"
    if stack.cumulative:
        return "Python counts the batches that its running statistics average"
    return ""


def _told(program: Program, reason: str) -> str:
    trial = program.trials[0]
    what = f"model {trial.model!r} with norm {trial.norm!r}"
    return f"{what} is trained kernel by kernel, which is slower than replaying whole steps: {reason}"


class Replayed:
    """The steps of a program, recorded at the first call and replayed at each."""

    def __init__(
        self, program: Program, advance: Advance, recorder: Callable[[Callable[[], Tensor]], Recording]
    ) -> None:
        self.program, self.advance, self.recorder = program, advance, recorder
        self.held: Now | None = None  # what the recording reads
        self.recording: Recording | None = None

    def __call__(self, now: Now) -> Tensor:
        """Take a step; the losses, which hold until the next."""
        if self.held is None:
            self.held = now.held(self.program.recent)
            self._record(self.held)
        if self.recording is None:
            return self.advance(now)
        assert self.held is not None
        self.held.take(now)
        replay, losses = self.recording
        replay()
        return losses

    def _record(self, held: Now) -> None:
        """Record a step and take back what it did."""
        state = {name: tensor.detach().clone() for name, tensor in self.program.state.items()}

        def work() -> Tensor:
            if self.program.stack.chain is not None:
                self.program.stack.chain.forget_room()  # a probe may let it go; what is allocated here is kept
            return self.advance(held)

        try:
            self.recording = self.recorder(work)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.program.notes.append(_told(self.program, " ".join(str(error).split())[:200]))
        with torch.no_grad():
            for name, tensor in self.program.state.items():
                tensor.copy_(state[name])
