"""One trial of own training, from its last state to its record.

The function runs in a thread of its own, and what happens meanwhile comes as messages: that it is alive, what it wants
the user to know, that its time is over.
"""

import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any

from harness.errors import MachineError, SuiteError, nearest
from harness.execution.containment.memory import limited_memory
from harness.execution.messages import Failed, Finished, Progress, Stopped, TrainRequest
from harness.execution.own_training.seeding import seed_generators
from harness.execution.own_training.session import Checkpoint, LeftTrial, Log, Session, number
from harness.spec.loader import check_late_imports, check_unchanged, load_suite
from harness.spec.metric import MetricSpec
from harness.spec.own_training.own_trial import OwnTrial
from harness.storage.containers import discard
from harness.storage.records import TRAINED, Record, ResultsDir, failure, write_record

POLL_SECONDS = 0.1  # between two looks at what the function does
ALIVE_EVERY = 2.0  # seconds between two signs of life
SAVE_GRACE = 12.0  # seconds that a trial that can go on has to save when the run stops
MADE_WITH = ("machine", "cpu", "torch")  # members of the telemetry that a state goes with
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
Outcomes = dict[str, float]


def start_thread(work: Callable[[], None]) -> None:
    """Do the work in a thread that ends with this process."""
    threading.Thread(target=work, daemon=True).start()


def run_trial(
    request: TrainRequest,
    *,
    stop: Callable[[], bool],
    rank: int = 0,
    start: Callable[[Callable[[], None]], None] = start_thread,
    is_disposable: bool = False,
) -> Iterator[Progress | Finished | Stopped | Failed]:
    """Train the trial and write its record, or let it save when `stop` turns true; the last that comes is the outcome.

    `start` runs the function. In a disposable process it is left where it is when it has to end; in any other it ends
    at its next call of `log` or `checkpoint.save`.
    """
    (trial,) = request.cohort.trials
    assert isinstance(trial, OwnTrial), "the harness trains other trials itself"
    results_dir = ResultsDir(request.root)
    session = Session(
        name=trial.train,
        folder=results_dir.checkpoints,
        cohort=request.cohort.id,
        made_with={"cohort": request.cohort.id, **{name: request.telemetry.get(name) for name in MADE_WITH}},
        writes=rank == 0,
        suite_folder=request.suite.parent,
    )
    ended: SimpleQueue[Outcomes | BaseException] = SimpleQueue()
    start(lambda: ended.put(_result(request, trial, session)))
    yield Progress(done=0.0)
    limit, told_at, left_at, is_late = request.limits.max_seconds, time.monotonic(), None, False
    while True:
        try:
            result = ended.get(timeout=POLL_SECONDS)
            break
        except Empty:
            pass
        yield from _notes(session)
        now = time.monotonic()
        is_late = limit is not None and session.seconds > limit
        if (stop() or is_late) and left_at is None:
            left_at = now
            session.must_leave.set()
        if left_at is not None and is_disposable and (is_late or not _may_save(session, now - left_at)):
            yield _timeout(limit) if is_late and limit is not None else Stopped()
            return
        is_alive = request.limits.heartbeat_timeout is None or session.last_call > told_at
        if is_alive and now - told_at > ALIVE_EVERY:
            told_at = now
            yield Progress(done=_share_done(trial, session), failed=(trial.key,) if session.nonfinite_at else ())
    yield from _notes(session)
    if isinstance(result, LeftTrial):
        yield _timeout(limit) if is_late and limit is not None else Stopped()
    elif isinstance(result, ModuleNotFoundError) and result.name:
        raise MachineError(f"{trial.train} needs the package {result.name!r}, which is not installed") from result
    elif isinstance(result, BaseException):
        raise result
    else:
        yield _write(request, trial, session, result) if rank == 0 else Finished(failed=())


def _result(request: TrainRequest, trial: OwnTrial, session: Session) -> Outcomes | BaseException:
    """What the function returns, checked, or what it raises."""
    try:
        for name in THREADS:
            os.environ[name] = str(trial.threads)
        suite = load_suite(request.suite)
        check_unchanged(suite, [trial])
        session.begun = time.monotonic()
        with limited_memory(request.limits.max_memory_mb, trial.device):
            seed_generators(trial.seed)
            returned = suite.suite.functions[trial.train](trial, Log(session), Checkpoint(session))
        check_late_imports(suite)
        return _checked(returned, trial.train, suite.suite.metrics)
    except BaseException as error:  # noqa: BLE001 (it may raise anything, and another thread deals with it)
        return error


def _checked(returned: Any, name: str, declared: Mapping[str, MetricSpec]) -> Outcomes:
    """The outcomes as numbers; SuiteError where they are not those that the suite declares."""
    example = "{" + ", ".join(f"{outcome!r}: ..." for outcome in declared) + "}"
    if not isinstance(returned, Mapping):
        raise SuiteError(f"{name} must return its outcomes, {example}, got {returned!r:.80}")
    if unknown := [outcome for outcome in returned if outcome not in declared]:
        raise SuiteError(
            f"{name} returned {unknown[0]!r}, which the suite does not declare; {nearest(str(unknown[0]), declared)}"
        )
    if missing := [outcome for outcome in declared if outcome not in returned]:
        raise SuiteError(f"{name} must return its outcomes, {example}, and left out {missing[0]!r}")
    numbers = {outcome: number(returned[outcome], f"outcome {outcome!r} of {name}") for outcome in declared}
    for outcome, value in numbers.items():
        spec = declared[outcome]
        if value < spec.low or value > spec.high:  # neither holds of what is not a number
            if abs(value) == float("inf"):
                continue
            raise SuiteError(f"{name} returned {outcome}={value:g}, which lies in {spec.low:g}..{spec.high:g}")
    return numbers


def _may_save(session: Session, waited: float) -> bool:
    """Whether a trial that is to stop may still save a state to go on from."""
    return session.is_resumable and waited < SAVE_GRACE


def _timeout(limit: float) -> Failed:
    error = f"max_seconds={limit:g} of the suite are over"
    return Failed(outcome="timeout", error=error, details=error, is_retryable=False, is_final=True)


def _share_done(trial: OwnTrial, session: Session) -> float:
    """How far it is, where the trial has a number of steps."""
    steps = dict(trial.settings).get("steps")
    return min(1.0, session.last_step / steps) if isinstance(steps, int) and steps > 0 else 0.0


def _notes(session: Session) -> Iterator[Progress]:
    while not session.notes.empty():
        yield Progress(done=0.0, note=session.notes.get())


def _write(request: TrainRequest, trial: OwnTrial, session: Session, outcomes: Outcomes) -> Finished:
    """Write the record of the trial, and then remove its states."""
    finite = {name: value if abs(value) < float("inf") else None for name, value in outcomes.items()}
    at = session.last_step if session.nonfinite_at is None else session.nonfinite_at
    record = Record(
        key=trial.key,
        trial=trial.content,
        outcome=TRAINED,
        facts={"fail_step": at if None in finite.values() else None, "outcomes": finite},
        curves=session.curves,
        telemetry={**_telemetry(trial, session), **request.telemetry, "attempts": request.attempt},
    )
    results_dir = ResultsDir(request.root)
    write_record(results_dir, record)
    discard(results_dir.checkpoints, request.cohort.id)
    return Finished(failed=(trial.key,) if failure(record) else ())


def _telemetry(trial: OwnTrial, session: Session) -> dict[str, Any]:
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "seconds_train": round(session.seconds - session.seconds_saving, 6),
        "seconds_eval": 0.0,
        "seconds_checkpoint": round(session.seconds_saving, 6),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1),
        "cohort_size": 1,
        "backend": trial.train,
        "threads": trial.threads,
        "resumes": session.resumes,
        "started": session.started,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
