"""A worker: a process that does jobs, on one thread, until its supervisor is gone. It has torch, the supervisor not."""

import os
import queue
import signal
import threading
import traceback
from multiprocessing.connection import Connection

import torch

from harness.errors import HarnessError
from harness.execution.inspect import inspect
from harness.execution.messages import Answer, Failed, Inspect, Job, Refused, Stop, Survey, Train
from harness.execution.survey import survey
from harness.execution.train import train_cohort

OUT_OF_MEMORY = ("can't allocate memory", "out of memory")  # what torch's RuntimeErrors say


def serve(connection: Connection) -> None:
    """Do jobs as they come, one after the other; end when the supervisor does, however it ends."""
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the supervisor decides
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    torch.set_num_threads(1)
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(connection, jobs, stop), daemon=True).start()
    while True:
        connection.send(_do(jobs.get(), connection, stop))


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
        if isinstance(job, Survey):
            return survey(job)
        if isinstance(job, Inspect):
            return inspect()
        assert isinstance(job, Train)
        return train_cohort(job, tell=connection.send, stop=stop.is_set)
    except HarnessError as error:
        return Refused(kind=type(error).__name__, error=str(error))
    except Exception as error:  # noqa: BLE001 (whatever a model raises is what came of its cohort)
        return failed(error)


def failed(error: Exception) -> Failed:
    """What a job comes to that raised."""
    line = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or any(said in line for said in OUT_OF_MEMORY)
    return Failed(
        outcome="oom" if memory else "crashed",
        error=line,
        details="".join(traceback.format_exception(error)),
        again=False,
    )
