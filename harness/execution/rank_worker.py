"""One of several ranks: a process that does jobs together with the others, until its launcher or supervisor is gone.

The first rank hears of jobs from the supervisor and passes them on. `launch` as first word makes this process the
launcher instead: torch's own, which ends with the supervisor. Under torchrun all but the first process of the world
become ranks themselves.
"""

import itertools
import json
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import torch
import torch.distributed as dist

from harness.ensemble.distributed import SINGLE_PROCESS, DistContext
from harness.errors import HarnessError
from harness.execution.messages import (
    DistributedBatch,
    DistributedBatchResult,
    End,
    Failed,
    Finished,
    Progress,
    Stopped,
    TrainRequest,
    UserErrorReply,
)
from harness.execution.pool import TERM_SIGNALS
from harness.execution.torchrun import EXIT_MARKER, die_with_parent, is_secondary_failure, torchrun_rank
from harness.execution.train import train_cohort
from harness.execution.worker import failed, listen

Result = Finished | Stopped | Failed | UserErrorReply
IDLE = timedelta(days=30)  # that ranks wait for a job; the supervisor ends those that hang
LEADER_WAIT = timedelta(seconds=10)  # that a rank that raised waits for the others to do so too
STEP = timedelta(minutes=30)  # that a rank waits for the others in a step
ASK_EVERY = 0.5  # seconds between two looks at whether another rank was told to stop


def main(arguments: list[str]) -> None:
    """Be the launcher, or a rank."""
    die_with_parent()
    if arguments[0] == "launch":
        from torch.distributed.run import main as launcher

        launcher(arguments[1:])
    else:
        serve(arguments[0])


def serve(address: str | None = None) -> None:
    """Do jobs as they come, until there are no more. The first rank hears of them at `address`."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=IDLE)
    stop = threading.Event()
    if (
        torchrun_rank() is not None and address is None
    ):  # torchrun tells all of its processes to stop; what is said is agreed
        for number in (signal.SIGINT, *TERM_SIGNALS):
            signal.signal(number, lambda *_: stop.set())
    jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
    pipe = _pipe(address, jobs, stop) if address is not None and dist.get_rank() == 0 else None
    store = dist.distributed_c10d._get_default_store()
    sharing = threading.Thread(target=_share, args=(stop, store), daemon=True)
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
        answer = _do(job, job_number, pipe, stop) if isinstance(job, TrainRequest) else _deal(job, stop)
        if pipe is not None:
            pipe.send(answer)


def _share(stop: threading.Event, store: Any) -> None:
    """Let all ranks stop where one is told to: in what each of them does by itself they don't ask each other."""
    with suppress(dist.DistError):  # the others are gone
        while not stop.wait(ASK_EVERY) and not store.check(["stop"]):
            pass
        stop.set()
        store.set("stop", "")


def _pipe(address: str, jobs: "queue.SimpleQueue[Any]", stop: threading.Event) -> Connection:
    connected = socket.socket(socket.AF_UNIX)
    connected.connect(address)
    pipe = Connection(connected.detach())
    threading.Thread(target=listen, args=(pipe, jobs, stop), daemon=True).start()
    return pipe


def _do(job: TrainRequest, number: int, pipe: Connection | None, stop: threading.Event) -> Result:
    """What comes of a job, for all ranks the same. No two jobs of these ranks have one number."""
    everyone = list(range(dist.get_world_size()))
    control = dist.new_group(everyone, timeout=STEP)
    backend = _backend(job)
    group = control if backend == "gloo" else dist.new_group(everyone, timeout=STEP, backend=backend)
    ranks = DistContext(rank=dist.get_rank(), world_size=len(everyone), group=group, control=control)
    answer = _try(job, pipe.send if pipe else _ignore_progress, stop, ranks)
    store = dist.distributed_c10d._get_default_store()
    store.set(f"{number}/{ranks.rank}", "ended")
    if isinstance(answer, Failed | UserErrorReply):
        try:
            store.wait([f"{number}/{rank}" for rank in everyone], LEADER_WAIT)
        except dist.DistStoreError:
            # The others wait for this rank in a step, and nothing but its end will tell them.
            tell_and_leave(answer)
    for used in {id(group): group, id(control): control}.values():
        dist.destroy_process_group(used)
    answers: list[Any] = [None] * len(everyone)
    dist.all_gather_object(answers, answer)
    return _first(answers)


def tell_and_leave(answer: Failed | UserErrorReply) -> NoReturn:
    """End this rank, and with it the others; the supervisor reads in the log what went wrong."""
    kind = answer.outcome if isinstance(answer, Failed) else answer.error_type
    if isinstance(answer, Failed):
        print(f"rank {dist.get_rank()}: {answer.details}", file=sys.stderr)
    print(EXIT_MARKER + json.dumps([kind, answer.error]), file=sys.stderr, flush=True)
    os._exit(1)


def _deal(job: DistributedBatch, stop: threading.Event) -> DistributedBatchResult:
    """What comes of jobs that each rank does by itself, every rank its share of them."""
    rank, size = dist.get_rank(), dist.get_world_size()
    own = [
        Stopped() if stop.is_set() else _try(one, _ignore_progress, stop, SINGLE_PROCESS)
        for one in job.jobs[rank::size]
    ]
    shares: list[Any] = [None] * size
    dist.all_gather_object(shares, own)
    return DistributedBatchResult(tuple(shares[i % size][i // size] for i in range(len(job.jobs))))


def _try(job: TrainRequest, tell: Callable[[Progress], None], stop: threading.Event, ranks: DistContext) -> Result:
    try:
        return train_cohort(job, tell=tell, stop=stop.is_set, ranks=ranks)
    except HarnessError as error:
        return UserErrorReply(error_type=type(error).__name__, error=str(error))
    except Exception as error:  # noqa: BLE001 (whatever a model raises is what came of its trial)
        return failed(error)


def _ignore_progress(progress: Progress) -> None:
    """The first rank speaks for all."""


def _first(answers: list[Result]) -> Result:
    """What went wrong first, where something did: that peers were lost follows from it."""
    wrong = [answer for answer in answers if isinstance(answer, Failed | UserErrorReply)]
    causes = [answer for answer in wrong if not is_secondary_failure(answer.error)]
    return (causes or wrong or answers)[0]


def _backend(job: TrainRequest) -> str:
    """NCCL where every rank has a GPU of its own; gloo also lets ranks share one."""
    on_cuda = job.cohort.trials[0].device.startswith("cuda")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", dist.get_world_size()))
    return "nccl" if on_cuda and local <= torch.cuda.device_count() else "gloo"


if __name__ == "__main__":
    main(sys.argv[1:])
