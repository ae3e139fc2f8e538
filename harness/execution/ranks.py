"""One of several ranks: a process that does jobs together with the others, until its launcher or supervisor is gone.

The first rank hears of jobs from the supervisor and passes them on. `launch` as first word makes this process the
launcher instead: torch's own, which ends with the supervisor.
"""

import os
import queue
import socket
import sys
import threading
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist

from harness.errors import HarnessError
from harness.execution.launch import die_with_parent
from harness.execution.messages import Answer, Failed, Progress, Refused, Train
from harness.execution.train import train_cohort
from harness.execution.worker import failed, listen
from harness.training.ranks import Ranks

IDLE = timedelta(days=30)  # that ranks wait for a job; the supervisor ends those that hang
STEP = timedelta(minutes=30)  # that a rank waits for the others in a step


def main(arguments: list[str]) -> None:
    """Be the launcher, or a rank."""
    die_with_parent()
    if arguments[0] == "launch":
        from torch.distributed.run import main as launcher

        launcher(arguments[1:])
    else:
        serve(arguments[0])


def serve(address: str) -> None:
    """Do jobs as they come."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=IDLE)
    stop = threading.Event()
    jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
    pipe = _pipe(address, jobs, stop) if dist.get_rank() == 0 else None
    while True:
        box: list[Any] = [jobs.get() if pipe is not None else None]
        dist.broadcast_object_list(box)
        answer = _do(box[0], pipe, stop)
        if pipe is not None:
            pipe.send(answer)


def _pipe(address: str, jobs: "queue.SimpleQueue[Any]", stop: threading.Event) -> Connection:
    connected = socket.socket(socket.AF_UNIX)
    connected.connect(address)
    pipe = Connection(connected.detach())
    threading.Thread(target=listen, args=(pipe, jobs, stop), daemon=True).start()
    return pipe


def _do(job: Train, pipe: Connection | None, stop: threading.Event) -> Answer:
    """What comes of a job, for all ranks the same."""
    everyone = list(range(dist.get_world_size()))
    control = dist.new_group(everyone, timeout=STEP)
    backend = _backend(job)
    group = control if backend == "gloo" else dist.new_group(everyone, timeout=STEP, backend=backend)
    ranks = Ranks(rank=dist.get_rank(), size=len(everyone), group=group, control=control)
    answer: Answer
    try:
        answer = train_cohort(job, tell=pipe.send if pipe else _keep_quiet, stop=stop.is_set, ranks=ranks)
    except HarnessError as error:
        answer = Refused(kind=type(error).__name__, error=str(error))
    except Exception as error:  # noqa: BLE001 (whatever a model raises is what came of its trial)
        answer = failed(error)
    # Where this rank alone has failed, the others wait for it in a step: now they are told that it is gone.
    for used in {id(group): group, id(control): control}.values():
        dist.destroy_process_group(used)
    answers: list[Any] = [None] * len(everyone)
    dist.all_gather_object(answers, answer)
    return _first(answers)


def _keep_quiet(progress: Progress) -> None:
    """The first rank speaks for all."""


def _first(answers: list[Answer]) -> Answer:
    """What went wrong first, where something did: that peers were lost follows from it."""
    wrong = [answer for answer in answers if isinstance(answer, Failed | Refused)]
    causes = [answer for answer in wrong if "onnection" not in answer.error]
    return (causes or wrong or answers)[0]


def _backend(job: Train) -> str:
    """NCCL where every rank has a GPU of its own; gloo also lets ranks share one."""
    on_cuda = job.cohort.trials[0].device.startswith("cuda")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", dist.get_world_size()))
    return "nccl" if on_cuda and local <= torch.cuda.device_count() else "gloo"


if __name__ == "__main__":
    main(sys.argv[1:])
