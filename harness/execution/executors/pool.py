"""Training in worker processes of this machine: each has one core, or a GPU."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.execution.cores import usable_cores
from harness.execution.executors.base import Event
from harness.execution.executors.scheduler import execute, request_preflight
from harness.execution.executors.torchrun import torchrun_executor
from harness.execution.gpus import visible_names
from harness.execution.messages import PreflightRequest, PreflightResult, TrainRequest
from harness.execution.pool import pool_of
from harness.reporting.upkeep.update import start_loading


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolExecutor:
    """A pool of workers; trials of several ranks train on ranks that are launched for them."""

    workers: int | None  # None: one for each core, or one for each GPU
    device: str  # as it was asked for: "cuda:1" is one GPU of several
    stop: Callable[[], bool]

    def preflight(self, request: PreflightRequest) -> PreflightResult | None:
        return request_preflight(request, self.stop)

    def execute(
        self, requests: Iterator[TrainRequest | None], world_size: int, preflight: PreflightResult
    ) -> Iterator[Event]:
        if world_size > 1:
            with torchrun_executor(world_size, self.stop) as ranks:
                yield from ranks.execute(requests, world_size, preflight)
            return
        with pool_of(self.worker_count(preflight), self.gpus(preflight), is_own=preflight.is_own) as pool:
            for event in execute(pool, requests, self.stop):
                if event.done >= 1.0:  # before the first result, no core is to spare
                    start_loading()
                yield event

    def worker_count(self, preflight: PreflightResult) -> int:
        """How many workers train at most."""
        if self.workers is not None:
            return self.workers
        return usable_cores() if preflight.device == "cpu" else max(1, len(self.gpus(preflight)))

    def gpus(self, preflight: PreflightResult) -> tuple[str, ...]:
        """The GPUs that workers get in turn, by the names that make one visible."""
        if preflight.device != "cuda":
            return ()
        device = self.device if self.device.startswith("cuda") else preflight.device
        return visible_names(device, preflight.machine.get("gpus", 0), os.environ)


@contextmanager
def pool_executor(workers: int | None, device: str, stop: Callable[[], bool]) -> Iterator[PoolExecutor]:
    """An executor that starts its processes when it has something for them."""
    yield PoolExecutor(workers=workers, device=device, stop=stop)
