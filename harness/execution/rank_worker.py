"""One of several ranks: a process that does jobs together with the others, until its launcher or supervisor is gone.

The first rank gets jobs from the supervisor and broadcasts them. With `launch` as its first argument this process is
the launcher instead: torch's own, which ends with the supervisor. Under torchrun all processes but the first become
ranks themselves.
"""

import itertools
import json
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any, NoReturn, cast

import torch
import torch.distributed as dist

from harness.ensemble.distributed import DistContext
from harness.execution.containment.keeper import end_with_parent
from harness.execution.containment.listening import listen
from harness.execution.messages import (
    Answer,
    DistributedBatch,
    DistributedBatchResult,
    End,
    Failed,
    Progress,
    Stopped,
    TrainAnswer,
    TrainRequest,
    UserErrorReply,
)
from harness.execution.pool import TERM_SIGNALS, WORKER_ENV
from harness.execution.torchrun import EXIT_MARKER, is_secondary_failure, torchrun_process
from harness.execution.worker import do_job
from harness.fault_injection import arm, inject
from harness.text import LINES, printable

IDLE = timedelta(days=30)  # that ranks wait for a job; the supervisor ends those that hang
LEADER_WAIT = timedelta(seconds=10)  # that a rank that raised waits for the others to do so too
STEP = timedelta(minutes=30)  # that a rank waits for the others in a step
STOP_POLL_SECONDS = 0.5  # between two looks at whether another rank was told to stop


def rank_main(arguments: list[str]) -> None:
    """Be the launcher, or a rank."""
    end_with_parent(os.getppid())
    if arguments[0] == "launch":
        from torch.distributed.run import main as launcher

        launcher(arguments[1:])
    else:
        serve_as_rank(arguments[0])


def serve_as_rank(address: str | None = None) -> None:
    """Do jobs as they come, until there are no more. The first rank gets them at `address`."""
    os.environ.update(WORKER_ENV)  # torchrun may have started it
    arm()
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=IDLE)
    stop = threading.Event()
    if torchrun_process() is not None:  # torchrun signals its processes, a cluster all that these have started
        for number in (signal.SIGINT, *TERM_SIGNALS):
            # The first rank has a supervisor, which gets the signal too and decides.
            signal.signal(number, signal.SIG_IGN if address is not None else lambda *_: stop.set())
    jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
    pipe = _connect(address, jobs, stop) if address is not None and dist.get_rank() == 0 else None
    store = dist.distributed_c10d._get_default_store()
    sharing = threading.Thread(target=_share_stop, args=(stop, store), daemon=True)
    sharing.start()
    for job_number in itertools.count():
        box: list[Any] = [jobs.get() if pipe is not None else None]
        dist.broadcast_object_list(box)
        job = box[0]
        if isinstance(job, End):
            stop.set()
            sharing.join()
            dist.destroy_process_group()
            return
        answer: TrainAnswer | DistributedBatchResult
        if isinstance(job, TrainRequest):
            answer = _train_together(job, job_number, pipe, stop)
        else:
            answer = _train_share(job, stop)
        if pipe is not None:
            inject("message")
            pipe.send(answer)


def _share_stop(stop: threading.Event, store: Any) -> None:
    """Let all ranks stop where one is told to: while each trains by itself, they don't communicate."""
    with suppress(dist.DistError):  # the others are gone
        while not stop.wait(STOP_POLL_SECONDS) and not store.check(["stop"]):
            pass
        stop.set()
        store.set("stop", "")


def _connect(address: str, jobs: "queue.SimpleQueue[Any]", stop: threading.Event) -> Connection:
    connected = socket.socket(socket.AF_UNIX)
    connected.connect(address)
    pipe = Connection(connected.detach())
    threading.Thread(target=listen, args=(pipe, jobs, stop), daemon=True).start()
    return pipe


def _train_together(request: TrainRequest, number: int, pipe: Connection | None, stop: threading.Event) -> TrainAnswer:
    """What comes of a request, for all ranks the same. No two jobs of these ranks have one number."""
    everyone = list(range(dist.get_world_size()))
    control = dist.new_group(everyone, timeout=STEP)
    backend = _collective_backend(request)
    group = control if backend == "gloo" else dist.new_group(everyone, timeout=STEP, backend=backend)
    ranks = DistContext(rank=dist.get_rank(), world_size=len(everyone), group=group, control=control)
    answer = _last(do_job(request, stop.is_set, ranks), pipe)
    store = dist.distributed_c10d._get_default_store()
    store.set(f"{number}/{ranks.rank}", "ended")
    if isinstance(answer, Failed | UserErrorReply):
        try:
            store.wait([f"{number}/{rank}" for rank in everyone], LEADER_WAIT)
        except dist.DistStoreError:
            # The others wait for this rank in a step, and only its end will tell them.
            exit_with(answer)
    for used in {id(group): group, id(control): control}.values():
        dist.destroy_process_group(used)
    answers: list[Any] = [None] * len(everyone)
    dist.all_gather_object(answers, answer)
    return _first(answers)


def exit_with(answer: Failed | UserErrorReply) -> NoReturn:
    """End this rank, and with it the others; the supervisor reads the reason in the log."""
    reason = answer.outcome if isinstance(answer, Failed) else answer.error_type
    if isinstance(answer, Failed):
        print(printable(f"rank {dist.get_rank()}: {answer.details}", keep=LINES), file=sys.stderr)
    print(EXIT_MARKER + json.dumps([reason, answer.error]), file=sys.stderr, flush=True)
    os._exit(1)


def _train_share(batch: DistributedBatch, stop: threading.Event) -> DistributedBatchResult:
    """What comes of requests that the ranks share out, each training its own by itself."""
    rank, size = dist.get_rank(), dist.get_world_size()
    mine = [
        Stopped() if stop.is_set() else _last(do_job(request, stop.is_set), None)
        for request in batch.requests[rank::size]
    ]
    shares: list[Any] = [None] * size
    dist.all_gather_object(shares, mine)
    return DistributedBatchResult(tuple(shares[i % size][i // size] for i in range(len(batch.requests))))


def _last(messages: Iterator[Progress | Answer], pipe: Connection | None) -> TrainAnswer:
    """The answer at the end of these messages; progress goes into the pipe, which the first rank alone has."""
    for message in messages:
        if not isinstance(message, Progress):
            return cast(TrainAnswer, message)
        if pipe is not None:
            inject("message")
            pipe.send(message)
    raise AssertionError("a job ends with an answer")


def _first(answers: list[TrainAnswer]) -> TrainAnswer:
    """The failure that caused the others, where ranks have failed; otherwise the answer of the first rank."""
    failures = [answer for answer in answers if isinstance(answer, Failed | UserErrorReply)]
    causes = [answer for answer in failures if not is_secondary_failure(answer.error)]
    return (causes or failures or answers)[0]


def _collective_backend(request: TrainRequest) -> str:
    """NCCL where every rank has a GPU of its own; gloo also lets ranks share one."""
    on_cuda = request.cohort.trials[0].device.startswith("cuda")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", dist.get_world_size()))
    return "nccl" if on_cuda and local <= torch.cuda.device_count() else "gloo"


if __name__ == "__main__":
    rank_main(sys.argv[1:])
