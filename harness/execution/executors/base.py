"""What every executor offers: cohorts in, events out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from harness.execution.messages import PreflightRequest, PreflightResult, TrainRequest
from harness.storage.records import Record, ResultsDir, write_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What has become of some trials: how far they are, or that they have ended."""

    keys: tuple[str, ...] = ()
    done: float = 0.0  # 1 where they have ended
    failed: tuple[str, ...] = ()  # keys of trials that have failed to train
    note: str = ""  # something that the user should know


class Executor(Protocol):
    """Trains cohorts somewhere: in this process, in workers, on ranks. As small as `concurrent.futures.Executor`.

    A new one is a file in this folder and an entry in EXECUTORS. It runs `worker.do_job` on each request, wherever its
    processes are, and lets `retries.follow_up` decide what an answer means. It is opened with a `stop`; when that turns
    true, it lets its cohorts be saved and ends.
    """

    def preflight(self, request: PreflightRequest) -> PreflightResult | None:
        """Try the suite where its cohorts will train; None where the run is stopped before the result is known."""

    def execute(
        self, requests: Iterator[TrainRequest | None], world_size: int, preflight: PreflightResult
    ) -> Iterator[Event]:
        """Train the cohorts and write their records; yield what happens as it happens.

        All need so many ranks. Each is taken when there is room for it, since others may want it too; None says that
        there is no other at the moment. So this ends when there is none, and none in training. Every trial ends in a
        record, unless the run is stopped: then cohorts are saved, and a later run goes on.
        """


def execute_all(
    executor: Executor, requests: Iterable[TrainRequest], preflight: PreflightResult, stop: Callable[[], bool]
) -> Iterator[Event]:
    """Train cohorts that nobody else wants."""
    for world_size, group in by_world_size(requests):
        if not stop():
            yield from executor.execute(iter(group), world_size, preflight)


def available(requests: Iterator[TrainRequest | None]) -> Iterator[TrainRequest]:
    """The requests up to where there is none at the moment."""
    while (request := next(requests, None)) is not None:
        yield request


def by_world_size(requests: Iterable[TrainRequest]) -> Iterator[tuple[int, list[TrainRequest]]]:
    """The requests for each number of ranks, the fewest ranks first; otherwise in their order."""
    for size, group in groupby(sorted(requests, key=_world_size), key=_world_size):
        yield size, list(group)


def _world_size(request: TrainRequest) -> int:
    return request.cohort.trials[0].world_size


def skip(requests: Iterator[TrainRequest | None], reason: str) -> Iterator[Event]:
    """Record that trials can't be trained here; a later run tries them again."""
    for request in available(requests):
        for trial in request.cohort.trials:
            record = Record(key=trial.key, trial=trial.content, outcome="skipped", error=reason)
            write_record(ResultsDir(request.root), record)
            yield Event(keys=(trial.key,), done=1.0)
    yield Event(note=f"skipped: {reason}")
