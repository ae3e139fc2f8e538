"""Worker processes: started once, given jobs, watched, replaced where they die."""

import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from harness.errors import error_line
from harness.execution.containment.fork_server import SUPERVISOR
from harness.execution.containment.keeper import END_GRACE, end, keep
from harness.execution.containment.machine_limits import machine_limit, process_start_errors
from harness.execution.containment.oom_kills import count_oom_kills
from harness.execution.containment.safe_path import SAFE_PATH, safe_path
from harness.execution.gpus import VISIBLE, least_used
from harness.execution.messages import Answer, End, Failed, Job, Progress, Stop, TrainRequest, UserErrorReply
from harness.execution.torchrun import Launched, launch, torchrun_process
from harness.fault_injection import arm

FORK_SERVER = "harness.execution.containment.fork_server"
HEARTBEAT_TIMEOUT = 1800.0  # seconds without a message after which a worker counts as hung
RANKS_HEARTBEAT_TIMEOUT = 300.0  # the same for ranks: one that hangs holds up the others
START_TIMEOUT = 120.0  # seconds that a worker has to start and to load its data, however little its suite allows
LAUNCHER_GRACE = 5.0  # seconds that a launcher has to log which rank died
LATE_GRACE = 5.0  # seconds that a worker has to notice that the time of its trials is over
MAX_LOOK_SECONDS = 5.0  # that count between two looks at the workers: this process may have been suspended with them
STOP_GRACE = 20.0  # seconds that a worker has for saving when it is told to stop
TERM_SIGNALS = [s for name in ("SIGTERM", "SIGUSR1", "SIGHUP") if (s := getattr(signal, name, None)) is not None]
# What libraries read when a worker loads them: the number of threads moves bits; memory that goes back to the system
# after each step and is asked for anew costs a third of the time of small models (glibc alone reads the last two).
WORKER_ENV = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"),
    "MKL_CBWR": "AUTO",  # without it a matrix product depends on where in memory its matrices begin
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # without it matrix products on CUDA are not the same each time
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
}


@dataclass(slots=True)
class Worker:
    """A process, the pipe to it, and the job that it does."""

    process: BaseProcess | Launched
    pipe: Connection
    job: Job | None = None
    silence: float = 0.0  # seconds since its last message
    has_begun: bool = False  # whether it has sent a message on its job
    oom_kills: int = field(default_factory=count_oom_kills)  # that had happened when it got its job
    gpu: str | None = None  # the only one that it sees

    @property
    def sources(self) -> list[Any]:
        """What is ready to be read when it has sent a message, or has ended."""
        sentinel = getattr(self.process, "sentinel", None)
        return [self.pipe] if sentinel is None else [self.pipe, sentinel]


class Pool:
    """A number of workers; use it through `pool_of`."""

    def __init__(self, size: int, start: Callable[[], Worker], heartbeat_timeout: float = HEARTBEAT_TIMEOUT) -> None:
        self.is_renewed = False  # whether a worker does one job and is gone
        self._start = start
        self.heartbeat_timeout = heartbeat_timeout
        self.size = size
        self.workers: list[Worker] = []
        self.is_replaceable = True
        self._looked_at = time.monotonic()

    @property
    def busy(self) -> list[Worker]:
        """The workers that have a job."""
        return [worker for worker in self.workers if worker.job is not None]

    @property
    def free(self) -> int:
        """How many more jobs can be given."""
        return self.size - len(self.busy)

    def submit(self, job: Job) -> None:
        """Let an idle worker, or a new one, do a job."""
        if isinstance(job, TrainRequest) and job.is_confirmation and self.is_replaceable:
            for idle in [worker for worker in self.workers if worker.job is None]:
                self._terminate(idle)
        worker = next((worker for worker in self.workers if worker.job is None), None)
        if worker is None:
            with process_start_errors():
                worker = self._start()
            self.workers.append(worker)
        worker.job, worker.silence, worker.has_begun, worker.oom_kills = job, 0.0, False, count_oom_kills()
        with suppress(OSError):  # it has just died; `events` will say so
            worker.pipe.send(job)

    def events(self, timeout: float) -> Iterator[tuple[Job, Progress | Answer]]:
        """Messages of workers, and failures of those that died or hang; waits up to `timeout` seconds for the first."""
        # What a model has started may hold the pipe open when its worker is dead, so the processes are watched too.
        ready = {*wait([source for worker in self.busy for source in worker.sources], timeout)}
        now = time.monotonic()
        elapsed, self._looked_at = min(now - self._looked_at, MAX_LOOK_SECONDS), now
        for worker in self.busy:
            job = worker.job
            assert job is not None
            worker.silence += elapsed
            if not ready.isdisjoint(worker.sources):
                yield job, self._receive(worker)
            elif worker.silence > (timeout := self._timeout(worker)):
                self._terminate(worker)
                error = f"no sign of life for {timeout:.0f} s"
                yield job, Failed(outcome="timeout", error=error, details=error, is_retryable=True)

    def _timeout(self, worker: Worker) -> float:
        """The seconds of silence after which a worker counts as hung: those of its suite, or of all of its time."""
        if not isinstance(worker.job, TrainRequest):
            return self.heartbeat_timeout
        limits = worker.job.limits
        timeout = self.heartbeat_timeout if limits.heartbeat_timeout is None else limits.heartbeat_timeout
        if limits.heartbeat_timeout is not None and not worker.has_begun:
            timeout = max(timeout, START_TIMEOUT)
        if limits.max_seconds is None or not worker.has_begun:
            return timeout
        return min(timeout, limits.max_seconds * len(worker.job.cohort.trials) + LATE_GRACE)

    def _receive(self, worker: Worker) -> Progress | Answer:
        try:
            if not worker.pipe.poll():
                raise EOFError
            message: Progress | Answer = worker.pipe.recv()
        except (EOFError, OSError):
            if isinstance(worker.process, Launched):
                worker.process.join(LAUNCHER_GRACE)
            self._terminate(worker)
            return _with_oom(self._cause(worker), worker)
        worker.silence, worker.has_begun = 0.0, True
        if not isinstance(message, Progress):
            worker.job = None
        is_broken = isinstance(message, Failed) and message.is_worker_broken
        if is_broken or (self.is_renewed and worker.job is None):
            self._terminate(worker)
        return message

    def _cause(self, worker: Worker) -> Failed | UserErrorReply:
        if isinstance(worker.process, Launched):
            return worker.process.cause()
        error = _exit_error(worker.process.exitcode)
        return Failed(outcome="crashed", error=error, details=error, is_retryable=True)

    def _terminate(self, worker: Worker) -> None:
        if isinstance(worker.process, BaseProcess) and worker.process.pid is not None:
            end(worker.process.pid)
            worker.process.join(END_GRACE)
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        self.workers.remove(worker)

    def stop(self) -> None:
        """Ask all workers to save and answer."""
        for worker in self.busy:
            try:
                worker.pipe.send(Stop())
            except OSError:  # it has just died; `events` will say so
                continue

    def kill(self) -> None:
        """End all workers at once, with all that they have started; what they saved stays."""
        for worker in self.workers:
            if worker.process.pid is not None:
                end(worker.process.pid)
        for worker in list(self.workers):
            self._terminate(worker)


@contextmanager
def pool_of(size: int, gpus: Sequence[str] = (), *, is_own: bool = False) -> Iterator[Pool]:
    """A pool of up to `size` workers, forked by a server that has torch loaded; where there are GPUs, each sees one.

    It sees no other, so that "cuda" means that one. Such a worker is spawned, not forked; so is one of own training,
    which is given one trial, no torch, and may start processes.
    """
    os.environ.update(WORKER_ENV)
    is_spawned = bool(gpus) or is_own
    context: Any = multiprocessing.get_context("spawn" if is_spawned else "forkserver")
    if not is_spawned:
        os.environ[SUPERVISOR] = str(os.getpid())
        context.set_forkserver_preload([FORK_SERVER])
        with process_start_errors(), safe_path(), blocked_signals():
            forkserver.ensure_running()

    def start() -> Worker:
        ours, theirs = context.Pipe()
        gpu = least_used(gpus, [worker.gpu for worker in pool.workers])
        process = context.Process(target=_serve, args=(theirs, gpu, SAFE_PATH in os.environ, is_own), daemon=True)
        with safe_path(), blocked_signals():
            process.start()
        theirs.close()
        return Worker(process, ours, gpu=gpu)

    pool = Pool(size, start)
    pool.is_renewed = is_own
    try:
        yield pool
    finally:
        pool.kill()


@contextmanager
def ranks_of(size: int, stop: Callable[[], bool]) -> Iterator[Pool]:
    """A pool whose one worker is so many ranks, which train one trial at a time together."""
    os.environ.update(WORKER_ENV)
    under_torchrun = torchrun_process() is not None
    # Under torchrun, a rank may have done its share while others are at theirs.
    timeout = math.inf if under_torchrun else RANKS_HEARTBEAT_TIMEOUT
    pool = Pool(1, lambda: Worker(*launch(size, stop)), heartbeat_timeout=timeout)
    pool.is_replaceable = not under_torchrun
    try:
        yield pool
    finally:
        if under_torchrun and not pool.busy:
            pool.submit(End())
            pool.workers[0].process.join(STOP_GRACE)
        pool.kill()


@contextmanager
def blocked_signals() -> Iterator[None]:
    """Block signals in processes that are started here: a terminal sends them to all, and this process decides.

    They are blocked from the start; a process that blocked them itself would first take seconds to load torch.
    """
    signals = {signal.SIGINT, *TERM_SIGNALS}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        resource_tracker.ensure_running()  # unblocks signals at its end, so they are blocked again
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, gpu: str | None, has_safe_path: bool, is_own: bool = False) -> None:
    """Run a worker, kept by this process. It is imported there, so that the supervisor never loads torch."""
    keep()
    _allow_children()
    arm()
    if not has_safe_path:
        os.environ.pop(SAFE_PATH, None)
    if gpu is not None:
        os.environ[VISIBLE] = gpu
    try:
        if is_own:
            # As in a program of its own: a function may start processes that find what the suite's file defines.
            multiprocessing.set_start_method(None, force=True)
            from harness.execution.own_training.worker import serve
        else:
            from harness.execution.worker import serve
    except Exception as error:  # noqa: BLE001 (libraries that can't be loaded show in many ways)
        line = error_line(error)
        limit = machine_limit(error, line) or f"a worker can't load what it needs: {line}"
        pipe.send(UserErrorReply(error_type="MachineError", error=limit))
        return
    serve(pipe)


def _allow_children() -> None:
    """Let this worker start processes, such as one that loads data: its keeper ends whatever it starts."""
    process: Any = multiprocessing.current_process()
    process._config["daemon"] = False  # there is no public way: Dask does the same for the workers of its own


def _with_oom(cause: Failed | UserErrorReply, worker: Worker) -> Failed | UserErrorReply:
    """The cause, which is a lack of memory where the system has killed processes for that in the meantime."""
    if isinstance(cause, Failed) and "SIGKILL" in cause.error and count_oom_kills() > worker.oom_kills:
        error = "the system has killed the worker because memory ran out"
        return Failed(outcome="oom", error=error, details=cause.details, is_retryable=False)
    return cause


def _exit_error(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        hint = "; the system does this when memory runs out" if -exit_code == signal.SIGKILL else ""
        return f"the worker was killed by {signal.Signals(-exit_code).name}{hint}"
    return f"the worker ended with exit code {exit_code}"
