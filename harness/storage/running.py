"""Signs of life: which runs are at work in a results folder, on what, and how far they are.

Each run keeps one file that its supervisor touches now and then, and removes when it ends. It is there to be looked at:
nothing of a result depends on it.
"""

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from harness.errors import DamageError
from harness.io import open_regular, parse_object, write_unsynced
from harness.spec.cohorts import cohort_id
from harness.storage.claims import STALE_SECONDS, server_time
from harness.storage.owners import Owner, has_died, owner_from_json
from harness.storage.records import ResultsDir
from harness.typed import is_whole

UNFINISHED = ("running", "interrupted", "waiting")  # what trials are that trials.csv calls interrupted
WRITE_EVERY = 2.0  # seconds, at most
MAX_BYTES = 4 * 2**20  # of a sign of life


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingCohort:
    """Trials that train together at the moment."""

    keys: Sequence[str]
    since: str  # UTC
    done: float  # of their steps, 0..1


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingRun:
    """A run that is at work."""

    owner: Owner
    silence: float  # seconds since its last sign of life
    cohorts: tuple[WorkingCohort, ...] = ()

    def __str__(self) -> str:
        return f"{self.owner}, last sign of life {max(0.0, self.silence):.0f} s ago"


@dataclass(slots=True)
class SignOfLife:
    """The file of this run; use it through `sign_of_life`."""

    path: Path
    owner: Owner
    cohorts: list[WorkingCohort] = field(default_factory=list)
    written_at: float = -math.inf

    def add(self, keys: Sequence[str], done: float) -> None:
        """Say how far some trials are: 1 where they have ended."""
        if not keys:
            return
        before = [cohort for cohort in self.cohorts if not set(cohort.keys).isdisjoint(keys)]
        self.cohorts = [cohort for cohort in self.cohorts if cohort not in before]
        if done < 1.0:
            since = before[0].since if before else datetime.now(UTC).isoformat(timespec="seconds")
            self.cohorts.append(WorkingCohort(keys=tuple(keys), since=since, done=done))
        if time.monotonic() - self.written_at > WRITE_EVERY:
            self.write()

    def write(self) -> None:
        """Say what is being trained. A full disk is for those to tell that write results."""
        self.written_at = time.monotonic()
        content = {"owner": asdict(self.owner), "cohorts": [asdict(cohort) for cohort in self.cohorts]}
        with suppress(OSError):
            write_unsynced(self.path, json.dumps(content).encode())

    def beat(self) -> None:
        """Give a sign of life."""
        with suppress(OSError):
            os.utime(self.path)


@contextmanager
def sign_of_life(results_dir: ResultsDir, owner: Owner) -> Iterator[SignOfLife]:
    """A file that says that this run is at work, until its end."""
    sign = SignOfLife(results_dir.running / f"{uuid4().hex}.json", owner)
    sign.write()
    try:
        yield sign
    finally:
        with suppress(OSError):
            sign.path.unlink(missing_ok=True)
            _remove_dead(results_dir)


def find_runs(results_dir: ResultsDir) -> list[WorkingRun]:
    """The runs that are at work, as far as is known: the earliest first. Those that have died are left out."""
    paths = sorted(results_dir.running.glob("[!.]*.json"))
    now = server_time(results_dir.running) if paths else 0
    runs = [run for path in paths if (run := _read(path, now)) is not None and _is_alive(run)]
    return sorted(runs, key=lambda run: run.owner.since)


def unfinished_states(
    results_dir: ResultsDir, keys: Set[str], cohorts: Iterable[Sequence[str]], runs: Iterable[WorkingRun]
) -> dict[str, str]:
    """What these trials without a record are: running, interrupted (a run has left a snapshot of them), or waiting."""
    running = {key for run in runs for cohort in run.cohorts for key in cohort.keys}
    try:
        saved = {path.name.partition(".")[0] for path in results_dir.checkpoints.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        saved = set()
    states = dict.fromkeys(keys, "waiting")
    for cohort in cohorts:
        missing = [key for key in cohort if key in keys]
        if not saved.isdisjoint((cohort_id(cohort), cohort_id(missing))):
            states.update(dict.fromkeys(missing, "interrupted"))
    return {key: "running" if key in running else state for key, state in states.items()}


def _remove_dead(results_dir: ResultsDir) -> None:
    """Remove the signs of runs that could not do so at their end; one that was suspended makes its own anew."""
    now = server_time(results_dir.running)
    for path in results_dir.running.glob("[!.]*.json"):
        run = _read(path, now)
        if run is None or not _is_alive(run):
            path.unlink(missing_ok=True)


def _is_alive(run: WorkingRun) -> bool:
    return run.silence <= STALE_SECONDS and not has_died(run.owner)


def _read(path: Path, now: int) -> WorkingRun | None:
    try:
        with open_regular(path, max_bytes=MAX_BYTES) as file:
            modified, content = os.fstat(file.fileno()).st_mtime_ns, parse_object(file.read())
    except (FileNotFoundError, DamageError, ValueError):
        return None
    owner = owner_from_json(content.get("owner"))
    cohorts = content.get("cohorts")
    if owner is None or not isinstance(cohorts, list) or not all(is_whole(cohort, WorkingCohort) for cohort in cohorts):
        return None
    return WorkingRun(
        owner=owner,
        silence=(now - modified) / 1e9,
        cohorts=tuple(WorkingCohort(**{**cohort, "keys": tuple(cohort["keys"])}) for cohort in cohorts),
    )
