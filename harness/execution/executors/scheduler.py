"""Requests through a pool of worker processes: who gets what next, until all of it is done or the run is stopped."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from harness.errors import MachineError
from harness.execution.executors.base import Event, available
from harness.execution.executors.retries import error_of, follow_up
from harness.execution.messages import (
    Answer,
    DistributedBatch,
    DistributedBatchResult,
    Failed,
    InspectRequest,
    InspectResult,
    PreflightRequest,
    PreflightResult,
    Progress,
    TrainRequest,
    UserErrorReply,
)
from harness.execution.pool import STOP_GRACE, Pool, pool_of

POLL_SECONDS = 0.2  # seconds between two looks at whether to stop


def request_preflight(job: PreflightRequest, stop: Callable[[], bool]) -> PreflightResult | None:
    """The result of a preflight in a worker, for executors whose cohorts train on this machine."""
    with pool_of(1) as pool:
        result = request(pool, job, stop)
    assert result is None or isinstance(result, PreflightResult)
    return result


def request(
    pool: Pool, job: PreflightRequest | InspectRequest, stop: Callable[[], bool]
) -> PreflightResult | InspectResult | None:
    """The result of a preflight or an inspection; None where the run is stopped before it is there."""
    pool.submit(job)
    while not stop():
        for _, message in pool.events(POLL_SECONDS):
            if not isinstance(message, Progress):
                return result_of(message)
    return None


def result_of(answer: Progress | Answer) -> PreflightResult | InspectResult:
    """What a preflight or an inspection has found; raises where it has found that the suite can't be run."""
    match answer:
        case PreflightResult() | InspectResult():
            return answer
        case UserErrorReply():
            raise error_of(answer)
        case Failed():
            raise MachineError(f"the preflight failed: {answer.error}")
        case _:
            raise AssertionError(f"{type(answer).__name__} is no answer to a preflight")


def execute(pool: Pool, requests: Iterable[TrainRequest | None], stop: Callable[[], bool]) -> Iterator[Event]:
    """Train the cohorts, yielding what happens as it happens. When `stop` turns true, save all and end."""
    upcoming = iter(requests)
    waiting, confirmations = deque[TrainRequest](), deque[TrainRequest]()
    kill_at = None
    while True:
        if stop():
            upcoming = iter(())
            waiting.clear()
            confirmations.clear()
            if kill_at is None:
                pool.stop()
                kill_at = time.monotonic() + STOP_GRACE
            elif time.monotonic() > kill_at:
                pool.kill()
        while pool.free > 0:
            if not waiting and (request := next(upcoming, None) or _pop(confirmations)) is not None:
                waiting.append(request)
            if not waiting or not has_room(pool, waiting[0]):
                break
            request = waiting.popleft()
            pool.submit(request)
            yield Event(keys=tuple(trial.key for trial in request.cohort.trials))
        if not waiting and not pool.busy:
            return
        for job, message in pool.events(POLL_SECONDS):
            assert isinstance(job, TrainRequest)
            event, again = follow_up(job, message)
            waiting.extendleft(reversed([request for request in again if not request.is_confirmation]))
            confirmations.extend(request for request in again if request.is_confirmation)
            yield event


def _pop(requests: deque[TrainRequest]) -> TrainRequest | None:
    return requests.popleft() if requests else None


def has_room(pool: Pool, request: TrainRequest) -> bool:
    """Whether the cohort's threads have cores to run on, as far as there are so many; a confirmation runs alone."""
    jobs = [worker.job for worker in pool.busy if isinstance(worker.job, TrainRequest)]
    if jobs and (request.is_confirmation or any(job.is_confirmation for job in jobs)):
        return False
    cohort = request.cohort
    taken = sum(job.cohort.trials[0].threads for job in jobs)
    return pool.free > 0 and (not taken or taken + cohort.trials[0].threads <= pool.size)


def execute_distributed(
    ranks: Pool, requests: Iterator[TrainRequest | None], stop: Callable[[], bool]
) -> Iterator[Event]:
    """The same on ranks that torchrun started: each trains its share of the cohorts by itself."""
    failed: list[TrainRequest] = []
    while not stop() and (batch := (*failed, *available(requests))):
        ranks.submit(DistributedBatch(batch))
        failed = []
        for train_request, answer in zip(batch, _answers_of_batch(ranks, stop), strict=False):
            event, again = follow_up(train_request, answer)
            failed += again
            yield event


def _answers_of_batch(ranks: Pool, stop: Callable[[], bool]) -> Iterator[Answer]:
    """What came of each request of the batch that the ranks are doing; MachineError where a rank is lost."""
    is_told_to_stop = False
    while ranks.busy:
        if stop() and not is_told_to_stop:
            ranks.stop()
            is_told_to_stop = True
        for _, message in ranks.events(POLL_SECONDS):
            if isinstance(message, Failed):
                raise MachineError(f"{message.error}; what was saved stays, the same command goes on")
            if isinstance(message, DistributedBatchResult):
                yield from message.answers
