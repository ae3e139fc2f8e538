"""Training in this very process, one cohort after the other: a debugger's breakpoints in a model work."""

import bdb
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import threadpoolctl

from harness.errors import RunAborted
from harness.execution.executors.base import Event, skip
from harness.execution.executors.retries import follow_up
from harness.execution.executors.scheduler import result_of
from harness.execution.messages import Answer, Job, PreflightRequest, PreflightResult, Progress, TrainRequest
from harness.execution.pool import WORKER_ENV
from harness.execution.stop_flag import INTERRUPTED
from harness.text import unescaped_output


@dataclass(frozen=True, slots=True, kw_only=True)
class InProcessExecutor:
    """No processes, so no ranks either: trials that need several are skipped."""

    stop: Callable[[], bool]

    def preflight(self, request: PreflightRequest) -> PreflightResult | None:
        *_, answer = self._do(request)
        result = result_of(answer)
        assert isinstance(result, PreflightResult)
        return None if self.stop() else result

    def execute(
        self, requests: Iterator[TrainRequest | None], world_size: int, preflight: PreflightResult
    ) -> Iterator[Event]:
        del preflight  # it says how many GPUs there are for how many workers
        if world_size > 1:
            yield from skip(requests, f"needs {world_size} ranks, and --executor in-process has one; leave it out")
            return
        waiting = deque[TrainRequest]()
        while not self.stop() and (request := waiting.popleft() if waiting else next(requests, None)) is not None:
            # There is no other worker to confirm a failure in.
            request = replace(request, is_confirmation=True)
            for message in self._do(request):
                event, again = follow_up(request, message)
                waiting.extendleft(reversed(again))
                yield event

    def _do(self, job: Job) -> Iterator[Progress | Answer]:
        """Do a job as a worker does it; who quits the debugger ends the run, and no trial has failed by that."""
        import torch  # here, so that it is loaded only where something is to train

        from harness.execution.worker import do_job, free_memory

        torch.set_num_threads(1)
        messages = do_job(job, self.stop, passing=(bdb.BdbQuit,))
        try:
            while (message := _next(messages)) is not None:
                yield message
        except bdb.BdbQuit as quit_debugger:
            raise RunAborted("the debugger was quit; the same command goes on", INTERRUPTED) from quit_debugger
        free_memory()


def _next(messages: Iterator[Progress | Answer]) -> Progress | Answer | None:
    """The next message, None after the last; on its way the model's code runs, and a debugger that stops in it."""
    with unescaped_output():
        return next(messages, None)


@contextmanager
def in_process_executor(stop: Callable[[], bool]) -> Iterator[InProcessExecutor]:
    """An executor in the environment of a worker: one thread for each library, whether it is loaded already or not."""
    os.environ.update(WORKER_ENV)
    with threadpoolctl.threadpool_limits(1):
        yield InProcessExecutor(stop=stop)
