"""Training on ranks: those that torchrun started, or ones that are launched for trials of several ranks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.execution.executors.base import Event, skip
from harness.execution.executors.scheduler import execute, execute_distributed, request_preflight
from harness.execution.messages import PreflightRequest, PreflightResult, TrainRequest
from harness.execution.pool import Pool, ranks_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchrunExecutor:
    """Ranks train a trial of their number together; trials of one rank are dealt out over them."""

    ranks: Pool
    world_size: int
    stop: Callable[[], bool]

    def preflight(self, request: PreflightRequest) -> PreflightResult | None:
        return request_preflight(request, self.stop)

    def execute(
        self, requests: Iterator[TrainRequest | None], world_size: int, preflight: PreflightResult
    ) -> Iterator[Event]:
        del preflight  # each rank takes the GPU of its number
        if world_size == 1:
            yield from execute_distributed(self.ranks, requests, self.stop)
        elif world_size == self.world_size:
            yield from execute(self.ranks, requests, self.stop)
        else:
            yield from skip(requests, f"needs {world_size} ranks, and torchrun started {self.world_size}")


@contextmanager
def torchrun_executor(world_size: int, stop: Callable[[], bool]) -> Iterator[TorchrunExecutor]:
    """So many ranks, which are there until the end."""
    with ranks_of(world_size, stop) as ranks:
        yield TorchrunExecutor(ranks=ranks, world_size=world_size, stop=stop)
