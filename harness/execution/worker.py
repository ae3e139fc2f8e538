"""A worker: a process that does jobs, on one thread, until its supervisor is gone. It has torch, the supervisor not."""

import gc
import os
import queue
import threading
import traceback
import warnings
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import torch

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
    warnings.showwarning = partial(_pass_on, connection)
    while True:
        connection.send(_do(jobs.get(), connection, stop))
        free_memory()


def listen(connection: Connection, jobs: "queue.SimpleQueue[Job]", stop: threading.Event) -> None:
    """Put jobs into the queue as they come, and heed a call to stop; end this process when the supervisor is gone."""
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            os._exit(0)  # the supervisor is gone: nothing may run on without it
        if isinstance(message, Stop):
            stop.set()
        else:
            jobs.put(message)


def _do(job: Job, connection: Connection, stop: threading.Event) -> Answer:
    try:
        if isinstance(job, PreflightRequest):
            return preflight(job)
        if isinstance(job, InspectRequest):
            return inspect()
        assert isinstance(job, TrainRequest)
        return train_cohort(job, tell=connection.send, stop=stop.is_set)
    except HarnessError as error:
        return UserErrorReply(error_type=type(error).__name__, error=str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a model raises is what came of its cohort)
        return failed(error)


def failed(error: BaseException) -> Failed:
    """What a job comes to that raised."""
    line = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or any(said in line for said in OUT_OF_MEMORY)
    return Failed(
        outcome="oom" if memory else "crashed",
        error=line,
        details="".join(traceback.format_exception(error)),
        is_retryable=False,
        is_worker_broken=isinstance(error, torch.AcceleratorError)
        and not memory,  # no later call to the device can be trusted
    )


def free_memory() -> None:
    """Give back to a GPU what a job left: of one that raised, tensors hang on the stack that it kept."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()
        torch.cuda.empty_cache()


def _pass_on(connection: Connection, message: Warning | str, *_: Any) -> None:
    """Let the user know what torch can't do deterministically; other warnings are for those who wrote the model."""
    if "deterministic" in str(message):
        connection.send(Progress(done=0.0, note=str(message).partition(".")[0]))
