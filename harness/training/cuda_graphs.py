"""CUDA graphs: on a GPU, a training step is captured once and then replayed as a whole, without Python.

Small models leave a GPU waiting for the next kernel. A captured step repeats its kernels on the same memory, and every
number that Python put into them stays as it was; so what differs from step to step is copied into static buffers before
each replay: see step_inputs.py. All steps but those that warm up, which are undone, are replays: a run that is resumed
computes what it would have computed.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from harness.training.state import TrainState
from harness.training.step_inputs import StepInputs

WARM_UP = 3  # steps before a capture, as torch asks for: libraries allocate and choose kernels at first

StepFn = Callable[[StepInputs], Tensor]  # updates every model, and returns their losses "M"
CapturedStep = tuple[Callable[[], None], Tensor]  # replays the captured kernels; where their result then is


def cuda_graph(step: Callable[[], Tensor]) -> CapturedStep:
    """The step as a CUDA graph, warmed up on a side stream; RuntimeError where it waits for the device."""
    side_stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side_stream.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(side_stream):
            for _ in range(WARM_UP - 1):
                step()
            with _raise_on_sync():
                step()
    finally:  # also where the step raised: what it started before that has still to be undone
        torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step()
    return graph.replay, result


@contextmanager
def _raise_on_sync() -> Iterator[None]:
    """Let whatever waits for the device raise: during a capture it would break torch's allocator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls this mode a prototype, which doesn't see everything
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


CAPTURES: dict[str, Callable[[Callable[[], Tensor]], CapturedStep]] = {"cuda": cuda_graph}  # device type -> capture


@dataclass(frozen=True, slots=True)
class GraphedStep:
    """A captured step; its losses hold until the next call."""

    static_inputs: StepInputs
    replay: Callable[[], None]
    losses: Tensor

    def __call__(self, inputs: StepInputs) -> Tensor:
        """Take a step with these inputs."""
        self.static_inputs.copy_(inputs)
        self.replay()
        return self.losses


def maybe_capture(state: TrainState, step_fn: StepFn, inputs: StepInputs) -> tuple[StepFn, str]:
    """The step captured where the device can, else as it is; and a note for the user where something prevents it.

    `inputs` may be those of any step: whatever the capture changes in the state is undone. A suite's own models may do
    what can't be captured, such as reading a number from the device; that shows only as they are captured.
    """
    capture = CAPTURES.get(state.fail_step.device.type)
    if capture is None:
        return step_fn, ""
    if reason := state.ensemble.backend.capture_blocker():
        return step_fn, fallback_note(state, reason)
    static_inputs = inputs.as_static_buffers(state.loss_buffer)
    before = {name: tensor.detach().clone() for name, tensor in state.model_state.items()}
    note = ""
    try:
        step_fn = GraphedStep(static_inputs, *capture(partial(step_fn, static_inputs)))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        note = fallback_note(state, " ".join(str(error).split())[:200])
    with torch.no_grad():
        for name, tensor in state.model_state.items():
            tensor.copy_(before[name])
    return step_fn, note


def fallback_note(state: TrainState, reason: str) -> str:
    """What a user is told of models that train without a CUDA graph."""
    trial = state.trials[0]
    model = f"model {trial.model!r} with norm {trial.norm!r}"
    return f"{model} is trained kernel by kernel, which is slower than replaying whole steps: {reason}"
