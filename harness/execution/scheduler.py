"""Cohorts through worker processes of this machine: who gets what next, and what becomes of those that fail."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import errors
from harness.errors import HarnessError
from harness.execution.messages import (
    DistributedBatch,
    DistributedBatchResult,
    Failed,
    Finished,
    InspectRequest,
    InspectResult,
    PreflightRequest,
    PreflightResult,
    Progress,
    Stopped,
    TrainRequest,
    UserErrorReply,
)
from harness.execution.pool import STOP_GRACE, Pool
from harness.io import write_atomically
from harness.spec.cohorts import Cohort
from harness.storage.records import Record, ResultsDir, write_record

MAX_ATTEMPTS = 3  # of a cohort whose worker dies, before it is cut in two
POLL_SECONDS = 0.2  # seconds between two looks at whether to stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What has become of the trials of a cohort: how far they are, or that they have ended."""

    keys: tuple[str, ...]
    done: float = 0.0  # 1 where they have ended
    failed: tuple[str, ...] = ()
    note: str = ""


def request(
    pool: Pool, job: PreflightRequest | InspectRequest, stopping: Callable[[], bool]
) -> PreflightResult | InspectResult | None:
    """What a survey says, or an inspection; None where the run is stopped before it is done."""
    pool.submit(job)
    while not stopping():
        for _, answer in pool.events(POLL_SECONDS):
            match answer:
                case PreflightResult() | InspectResult():
                    return answer
                case UserErrorReply():
                    raise _error(answer)
                case Failed():
                    raise errors.MachineError(f"the worker that looks at the suite failed: {answer.error}")
    return None


def execute(
    pool: Pool, cohorts: Iterable[Cohort], *, suite: Path, root: Path, telemetry: Mapping[str, Any],
    stopping: Callable[[], bool],
) -> Iterator[Event]:  # fmt: skip
    """Train the cohorts; tell what happens as it happens. When `stopping` turns true, save all and end."""
    waiting = deque((cohort, 1) for cohort in cohorts)
    stop_at = None
    while waiting or pool.busy:
        if stopping():
            waiting.clear()
            if stop_at is None:
                pool.stop()
                stop_at = time.monotonic() + STOP_GRACE
            elif time.monotonic() > stop_at:
                pool.kill()
        while waiting and _has_room(pool, waiting[0][0]):
            cohort, attempt = waiting.popleft()
            pool.submit(TrainRequest(suite=suite, cohort=cohort, root=root, telemetry=telemetry, attempt=attempt))
        for job, answer in pool.events(POLL_SECONDS):
            assert isinstance(job, TrainRequest)
            yield from _handle_answer(job, answer, waiting)


def execute_distributed(
    pool: Pool, cohorts: Iterable[Cohort], *, suite: Path, root: Path, telemetry: Mapping[str, Any],
    stopping: Callable[[], bool],
) -> Iterator[Event]:  # fmt: skip
    """The same, dealt out over ranks that were started for us, each of which trains its share by itself."""
    waiting = deque((cohort, 1) for cohort in cohorts)
    while waiting and not stopping():
        jobs = [
            TrainRequest(suite=suite, cohort=cohort, root=root, telemetry=telemetry, attempt=attempt)
            for cohort, attempt in waiting
        ]
        waiting.clear()
        pool.submit(DistributedBatch(tuple(jobs)))
        stopped = False
        while pool.busy:
            if stopping() and not stopped:
                pool.stop()
                stopped = True
            for _, answer in pool.events(POLL_SECONDS):
                if isinstance(answer, Failed):
                    raise errors.MachineError(f"{answer.error}; what was saved stays, the same command goes on")
                for job, result in zip(
                    jobs, answer.answers if isinstance(answer, DistributedBatchResult) else (), strict=False
                ):
                    yield from _handle_answer(job, result, waiting)


def skip(results_dir: ResultsDir, cohorts: Iterable[Cohort], reason: str) -> Iterator[Event]:
    """Record that trials can't be trained here; elsewhere they can, so a later run tries them again."""
    for trial in (trial for cohort in cohorts for trial in cohort.trials):
        write_record(results_dir, Record(key=trial.key, trial=trial.content, outcome="skipped", error=reason))
        yield Event(keys=(trial.key,), done=1.0)
    yield Event(keys=(), note=f"skipped: {reason}")


def _has_room(pool: Pool, cohort: Cohort) -> bool:
    """Whether the cohort's threads have cores to run on, as far as there are so many."""
    taken = sum(worker.job.cohort.trials[0].threads for worker in pool.busy if isinstance(worker.job, TrainRequest))
    return pool.free > 0 and (not taken or taken + cohort.trials[0].threads <= pool.size)


def _handle_answer(job: TrainRequest, answer: Any, waiting: "deque[tuple[Cohort, int]]") -> Iterator[Event]:
    keys = tuple(trial.key for trial in job.cohort.trials)
    match answer:
        case Progress():
            yield Event(keys=keys, done=min(answer.done, 0.999), failed=answer.failed, note=answer.note)
        case Finished():
            yield Event(keys=keys, done=1.0, failed=answer.failed)
        case UserErrorReply():
            raise _error(answer)
        case Failed():
            yield from _retry(job, answer, waiting)
        case Stopped():
            pass


def _retry(job: TrainRequest, failure: Failed, waiting: "deque[tuple[Cohort, int]]") -> Iterator[Event]:
    """Try a cohort whose worker died again; cut one that raised in two, down to the trial that is to blame."""
    trials = job.cohort.trials
    log = _log(job, failure)
    what = f"{len(trials)} trials together" if len(trials) > 1 else f"trial {trials[0].key}"
    if failure.is_retryable and job.attempt < MAX_ATTEMPTS:
        waiting.appendleft((job.cohort, job.attempt + 1))
        yield Event(keys=(), note=f"{what}: {failure.error}; trying again ({log})")
    elif len(trials) > 1:
        for half in reversed(job.cohort.halves()):
            waiting.appendleft((half, 1))
        yield Event(keys=(), note=f"{what}: {failure.error}; looking for the one to blame ({log})")
    else:
        (trial,) = trials
        telemetry = {**job.telemetry, "cohort_size": 1, "attempts": job.attempt}
        write_record(
            ResultsDir(job.root),
            Record(
                key=trial.key, trial=trial.content, outcome=failure.outcome, telemetry=telemetry, error=failure.error
            ),
        )
        yield Event(keys=(trial.key,), done=1.0, note=f"{what}: {failure.outcome}: {failure.error} ({log})")


def _log(job: TrainRequest, failure: Failed) -> Path:
    """Write what is known of a failed attempt; the path of the file."""
    name = job.cohort.trials[0].key if len(job.cohort.trials) == 1 else f"cohort-{job.cohort.id}"
    path = ResultsDir(job.root).logs / f"{name}.{job.attempt}.log"
    trials = "\n".join(f"{trial.key} {trial.content}" for trial in job.cohort.trials)
    text = f"{failure.outcome}: {failure.error}\nattempt {job.attempt}\n\n{failure.details}\n\nTrials:\n{trials}\n"
    write_atomically(path, text.encode("utf-8", "backslashreplace"))
    return path


def _error(answer: UserErrorReply) -> HarnessError:
    kind: type[HarnessError] = getattr(errors, answer.error_type)
    return kind(answer.error)
