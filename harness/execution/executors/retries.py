"""What follows from the answer to a request: an event, and where a cohort failed what is to train in its place."""

from dataclasses import replace
from pathlib import Path

from harness import errors
from harness.errors import HarnessError
from harness.execution.executors.base import Event
from harness.execution.messages import Answer, Failed, Finished, Progress, Stopped, TrainRequest, UserErrorReply
from harness.io import write_atomically
from harness.storage.records import Record, ResultsDir, write_record
from harness.text import LINES, printable

MAX_ATTEMPTS = 3  # of a cohort whose worker dies, before it is bisected


def follow_up(request: TrainRequest, answer: Progress | Answer) -> tuple[Event, list[TrainRequest]]:
    """What to tell, and what to train next because of it; raises the error of a UserErrorReply."""
    keys = tuple(trial.key for trial in request.cohort.trials)
    match answer:
        case Progress():
            event = Event(keys=keys, done=min(answer.done, 0.999), failed=answer.failed, note=answer.note)
        case Finished():
            event = Event(keys=keys, done=1.0, failed=answer.failed)
        case Failed():
            return _after_failure(request, answer)
        case UserErrorReply():
            raise error_of(answer)
        case Stopped():
            event = Event()
        case _:
            raise AssertionError(f"{type(answer).__name__} is no answer to a TrainRequest")
    return event, []


def _after_failure(request: TrainRequest, failure: Failed) -> tuple[Event, list[TrainRequest]]:
    """Try a cohort whose worker died again; bisect one that raised, down to the trial that makes it fail.

    What else has happened in its worker may have made it fail, so it is tried once more before that is recorded.
    """
    trials = request.cohort.trials
    log = _write_log(request, failure)
    if failure.is_final:
        _write_failures(request, failure)
        note = f"{_subject(request)}: {failure.outcome}: {failure.error} ({log})"
        return Event(keys=tuple(trial.key for trial in trials), done=1.0, note=note), []
    subject = _subject(request)
    if failure.is_retryable and request.attempt < MAX_ATTEMPTS and not request.is_confirmation:
        event = Event(note=f"{subject}: {failure.error}; trying again ({log})")
        return event, [replace(request, attempt=request.attempt + 1)]
    if len(trials) > 1:
        event = Event(note=f"{subject}: {failure.error}; bisecting the cohort ({log})")
        return event, [replace(request, cohort=half, attempt=1) for half in request.cohort.halves()]
    if not request.is_confirmation:
        event = Event(note=f"{subject}: {failure.error}; trying once more, alone in a new worker ({log})")
        return event, [replace(request, attempt=request.attempt + 1, is_confirmation=True)]
    _write_failures(request, failure)
    return Event(keys=(trials[0].key,), done=1.0, note=f"{subject}: {failure.outcome}: {failure.error} ({log})"), []


def _subject(request: TrainRequest) -> str:
    trials = request.cohort.trials
    return f"{len(trials)} trials together" if len(trials) > 1 else f"trial {trials[0].key}"


def _write_failures(request: TrainRequest, failure: Failed) -> None:
    trials = request.cohort.trials
    telemetry = {**request.telemetry, "cohort_size": len(trials), "attempts": request.attempt}
    for trial in trials:
        record = Record(
            key=trial.key, trial=trial.content, outcome=failure.outcome, telemetry=telemetry, error=failure.error
        )
        write_record(ResultsDir(request.root), record)


def _write_log(request: TrainRequest, failure: Failed) -> Path:
    """Write what is known of a failed attempt; the path of the file."""
    trials = request.cohort.trials
    name = trials[0].key if len(trials) == 1 else f"cohort-{request.cohort.id}"
    path = ResultsDir(request.root).logs / f"{name}.{request.attempt}.log"
    listing = "\n".join(f"{trial.key} {trial.content}" for trial in trials)
    text = f"{failure.outcome}: {failure.error}\nattempt {request.attempt}\n\n{failure.details}\n\nTrials:\n{listing}\n"
    write_atomically(path, printable(text, keep=LINES).encode())
    return path


def error_of(reply: UserErrorReply) -> HarnessError:
    """The error that a worker has raised."""
    error_type: type[HarnessError] = getattr(errors, reply.error_type)
    return error_type(reply.error)
