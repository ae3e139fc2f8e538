"""A worker: a process that does jobs, on one thread, until its supervisor is gone. Only workers load torch."""

import gc
import queue
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection

import torch
import torch.fx.experimental.symbolic_shapes  # sympy and all: the first gradient would load it, in every worker anew

from harness.ensemble.distributed import SINGLE_PROCESS, DistContext
from harness.errors import HarnessError, error_line
from harness.execution.containment.listening import listen
from harness.execution.containment.machine_limits import is_blameless, machine_limit
from harness.execution.containment.memory import limited_memory
from harness.execution.containment.process_state import preserved
from harness.execution.environment import inspect
from harness.execution.messages import (
    Answer,
    Failed,
    InspectRequest,
    Job,
    PreflightRequest,
    Progress,
    TrainRequest,
    UserErrorReply,
)
from harness.execution.own_training.trial_run import run_trial
from harness.execution.own_training.worker import OUT_OF_MEMORY
from harness.execution.preflight import preflight
from harness.execution.train import TimeLimitError, train_cohort
from harness.fault_injection import inject
from harness.spec.own_training.own_trial import OwnTrial


def serve(connection: Connection) -> None:
    """Do jobs as they come, one after the other; end when the supervisor does, however it ends."""
    stop = threading.Event()
    torch.set_num_threads(1)
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(connection, jobs, stop), daemon=True).start()
    while True:
        for message in do_job(jobs.get(), stop.is_set):
            inject("message")
            connection.send(message)
        free_memory()


def do_job(
    job: Job,
    stop: Callable[[], bool],
    ranks: DistContext = SINGLE_PROCESS,
    *,
    passing: tuple[type[Exception], ...] = (),
) -> Iterator[Progress | Answer]:
    """Progress as it comes, and at last the answer; what a job raises becomes an answer too, but for `passing`."""
    with preserved(), warnings.catch_warnings(record=True) as caught:
        try:
            for message in _messages(job, stop, ranks):
                yield from _determinism_notes(caught)
                yield message
        except passing:
            raise
        except HarnessError as error:
            yield UserErrorReply(error_type=type(error).__name__, error=str(error))
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 (a model of a suite's own may raise anything)
            if is_blameless(error):
                line = error_line(error)
                yield UserErrorReply(error_type="MachineError", error=machine_limit(error, line) or line)
            else:
                yield _with_limit(failed(error), job)


def _messages(job: Job, stop: Callable[[], bool], ranks: DistContext) -> Iterator[Progress | Answer]:
    match job:
        case PreflightRequest():
            yield preflight(job)
        case InspectRequest():
            yield inspect()
        case TrainRequest() if isinstance(job.cohort.trials[0], OwnTrial):
            yield from run_trial(job, stop=stop, rank=ranks.rank)
        case TrainRequest():
            trial = job.cohort.trials[0]
            max_mb = job.limits.max_memory_mb
            with limited_memory(None if max_mb is None else max_mb * len(job.cohort.trials), trial.device):
                yield from train_cohort(job, stop=stop, ranks=ranks)
        case _:
            raise AssertionError(f"{type(job).__name__} is a job of ranks")


def failed(error: BaseException) -> Failed:
    """The answer to a job that raised."""
    if isinstance(error, TimeLimitError):
        return Failed(outcome="timeout", error=str(error), details=str(error), is_retryable=False, is_final=True)
    line = error_line(error)
    is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in line for text in OUT_OF_MEMORY)
    return Failed(
        outcome="oom" if is_memory else "crashed",
        error=line,
        details=_traceback(error),
        is_retryable=False,
        # After any other error of the device, no later call to it can be trusted.
        is_worker_broken=isinstance(error, torch.AcceleratorError) and not is_memory,
    )


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except BaseException:  # noqa: BLE001 (of an error that a suite has made)
        return "".join([*traceback.format_tb(error.__traceback__), error_line(error)])


def _with_limit(failure: Failed, job: Job) -> Failed:
    """The failure, with the limit that the suite has set where that may be its reason."""
    limit = job.limits.max_memory_mb if isinstance(job, TrainRequest) else None
    if failure.outcome != "oom" or limit is None:
        return failure
    return replace(failure, error=f"{failure.error} (the suite sets max_memory_mb={limit:g})")


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
