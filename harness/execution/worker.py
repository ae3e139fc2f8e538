"""A worker: a process that does jobs, on one thread, until its supervisor is gone. Only workers load torch."""

import gc
import os
import queue
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import torch
import torch.fx.experimental.symbolic_shapes  # sympy and all: the first gradient would load it, in every worker anew

from harness.ensemble.distributed import SINGLE_PROCESS, DistContext
from harness.errors import HarnessError
from harness.execution.environment import inspect
from harness.execution.messages import (
    Answer,
    Failed,
    InspectRequest,
    Job,
    PreflightRequest,
    Progress,
    Stop,
    TrainRequest,
    UserErrorReply,
)
from harness.execution.preflight import preflight
from harness.execution.train import train_cohort

OUT_OF_MEMORY = ("can't allocate memory", "out of memory")  # what torch's RuntimeErrors say


def serve(connection: Connection) -> None:
    """Do jobs as they come, one after the other; end when the supervisor does, however it ends."""
    stop = threading.Event()
    torch.set_num_threads(1)
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(connection, jobs, stop), daemon=True).start()
    while True:
        for message in do_job(jobs.get(), stop.is_set):
            connection.send(message)
        free_memory()


def listen(connection: Connection, jobs: "queue.SimpleQueue[Job]", stop: threading.Event) -> None:
    """Queue jobs as they come, and set `stop` when told to; end this process when the supervisor is gone."""
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            os._exit(0)  # the supervisor is gone: nothing may run on without it
        if isinstance(message, Stop):
            stop.set()
        else:
            jobs.put(message)


def do_job(
    job: Job,
    stop: Callable[[], bool],
    ranks: DistContext = SINGLE_PROCESS,
    *,
    passing: tuple[type[Exception], ...] = (),
) -> Iterator[Progress | Answer]:
    """Progress as it comes, and at last the answer; what a job raises becomes an answer too, but for `passing`."""
    with warnings.catch_warnings(record=True) as caught:
        try:
            for message in _messages(job, stop, ranks):
                yield from _determinism_notes(caught)
                yield message
        except passing:
            raise
        except HarnessError as error:
            yield UserErrorReply(error_type=type(error).__name__, error=str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001 (a model of a suite's own may raise anything)
            yield failed(error)


def _messages(job: Job, stop: Callable[[], bool], ranks: DistContext) -> Iterator[Progress | Answer]:
    match job:
        case PreflightRequest():
            yield preflight(job)
        case InspectRequest():
            yield inspect()
        case TrainRequest():
            yield from train_cohort(job, stop=stop, ranks=ranks)
        case _:
            raise AssertionError(f"{type(job).__name__} is a job of ranks")


def failed(error: BaseException) -> Failed:
    """The answer to a job that raised."""
    line = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in line for text in OUT_OF_MEMORY)
    return Failed(
        outcome="oom" if is_memory else "crashed",
        error=line,
        details="".join(traceback.format_exception(error)),
        is_retryable=False,
        # After any other error of the device, no later call to it can be trusted.
        is_worker_broken=isinstance(error, torch.AcceleratorError) and not is_memory,
    )


def free_memory() -> None:
    """Give memory of a GPU back after a job: one that raised has left tensors on the stack of its traceback."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()
        torch.cuda.empty_cache()


def _determinism_notes(caught: list[warnings.WarningMessage]) -> Iterator[Progress]:
    """What torch can't do deterministically, for the user; other warnings are for those who wrote the model."""
    texts = [str(warning.message) for warning in caught]
    caught.clear()
    for text in texts:
        if "deterministic" in text:
            yield Progress(done=0.0, note=text.partition(".")[0])
