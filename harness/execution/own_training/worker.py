"""A worker for one trial of own training: a new process, which loads no torch unless the function does."""

import queue
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

from harness.errors import HarnessError, error_line
from harness.execution.containment.listening import listen
from harness.execution.containment.machine_limits import is_blameless, machine_limit
from harness.execution.messages import Answer, Failed, Job, Progress, TrainRequest, UserErrorReply
from harness.execution.own_training.trial_run import run_trial
from harness.fault_injection import inject

OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "std::bad_alloc")  # what errors of libraries say
Work = Callable[[], None]


def serve(connection: Connection) -> None:
    """Do one job, in the thread that libraries take for the main one; the supervisor then ends this process."""
    stop = threading.Event()
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    work: queue.SimpleQueue[Work] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(connection, jobs, stop), daemon=True).start()
    threading.Thread(target=_answer, args=(connection, jobs, stop, work), daemon=True).start()
    while True:
        work.get()()


def _answer(
    connection: Connection, jobs: "queue.SimpleQueue[Job]", stop: threading.Event, work: "queue.SimpleQueue[Work]"
) -> None:
    for message in _messages(jobs.get(), stop.is_set, work.put):
        inject("message")
        connection.send(message)


def _messages(job: Job, stop: Callable[[], bool], start: Callable[[Work], None]) -> Iterator[Progress | Answer]:
    """Progress as it comes, and at last the answer; what the function raises becomes an answer too."""
    assert isinstance(job, TrainRequest), f"{type(job).__name__} is a job of other workers"
    try:
        yield from run_trial(job, stop=stop, start=start, is_disposable=True)
    except HarnessError as error:
        yield UserErrorReply(error_type=type(error).__name__, error=str(error))
    except GeneratorExit:
        raise
    except BaseException as error:  # noqa: BLE001 (a function of a suite's own may raise anything)
        line = error_line(error)
        if is_blameless(error):
            yield UserErrorReply(error_type="MachineError", error=machine_limit(error, line) or line)
        else:
            yield failed(error)


def failed(error: BaseException) -> Failed:
    """The answer to a job whose function raised."""
    line = error_line(error)
    is_memory = isinstance(error, MemoryError) or any(text in line for text in OUT_OF_MEMORY)
    try:
        details = "".join(traceback.format_exception(error))
    except BaseException:  # noqa: BLE001 (of an error that a suite has made)
        details = "".join([*traceback.format_tb(error.__traceback__), line])
    return Failed(outcome="oom" if is_memory else "crashed", error=line, details=details, is_retryable=False)
