"""The drill: the suite without interruption, then interrupted in each way, and the bytes of its tables compared."""

import csv
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.errors import MachineError, UsageError
from harness.execution.drill.commands import Command, Ended, started
from harness.execution.drill.suite import SUITE_HEARTBEAT_TIMEOUT, SUITE_NAME, SUITE_TEXT
from harness.execution.drill.ways import WAYS, Way
from harness.execution.stop_flag import INTERRUPTED, TEMPORARY
from harness.fault_injection import count_operations
from harness.io import make_folder, remove_file, write_atomically
from harness.storage.records import ResultsDir

COMPARED_TABLES = ("trials.csv", "curves.parquet")  # whose bytes no interruption may change
COUNT_ONLY = "kill@step:999999999999"  # a fault that never strikes: the file of counts tells what a run does
RUN_TIMEOUT = 900.0  # seconds after which a run has hung, whatever the suite says
MAX_RUNS = 5  # of the same command until it is done
MAX_TRIES = 8  # of one way until it strikes before the run is over
ORDERLY = {0, 1, MachineError.exit_code, TEMPORARY, INTERRUPTED}  # exit codes of a run that was interrupted
FATAL = {"kill": signal.SIGKILL, "sigterm": signal.SIGTERM}  # kind of a fault -> the signal that may kill the run


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a run comes to that nothing interrupts."""

    tables: dict[str, bytes]
    seconds: float
    counts: str  # a letter for each operation


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillResult:
    """What came of a run that was interrupted in one way."""

    way: Way
    struck: str  # when
    runs: int  # until it was complete
    faults: list[str] = field(default_factory=list)  # what should not be; none where all is well


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """Where a drill takes place, and how its suite is run."""

    folder: Path
    executor: str

    def run_words(self, results: Path) -> list[str]:
        """The command that trains the suite."""
        where = ["--results", str(results), "--executor", self.executor, "--workers", "2"]
        # In one process no other one confirms a failure: it is recorded, and tried again where that is asked for.
        again = ["--retry", "oom,crashed"] if self.executor == "in-process" else []
        return ["run", str(self.folder / f"{SUITE_NAME}.py"), *where, *again, "--progress", "none"]


def prepare_drill(results: Path, executor: str) -> Drill:
    """A drill in a new folder among the results, so that their disk is the one that is tried."""
    try:
        make_folder(results)
        folder = Path(tempfile.mkdtemp(prefix="drill-", dir=results))
    except OSError as error:
        raise MachineError(f"can't write results to {results}: {error.strerror}; choose another --results") from error
    write_atomically(folder / f"{SUITE_NAME}.py", SUITE_TEXT.encode())
    return Drill(folder=folder, executor=executor)


def run_uninterrupted(drill: Drill) -> Reference:
    """The run that all others are compared with; MachineError where the suite can't be run here."""
    results, counts = drill.folder / "uninterrupted", drill.folder / "counts"
    begun = time.monotonic()
    log = drill.folder / "uninterrupted.log"
    with started(drill.run_words(results), log, fault=COUNT_ONLY, counts=counts) as command:
        ended = command.wait(RUN_TIMEOUT)
    if ended is None or ended.exit_code != 0:
        line = f"no end after {RUN_TIMEOUT:.0f} s" if ended is None else ended.last_line
        raise MachineError(f"the suite of the drill can't be run here: {line}")
    seconds = time.monotonic() - begun
    return Reference(tables=read_tables(results), seconds=seconds, counts=counts.read_text("ascii"))


def run_drill(drill: Drill, reference: Reference, seed: int, rounds: int) -> Iterator[DrillResult]:
    """What comes of each way; what a way has left that went wrong stays in the folder of the drill."""
    rng = np.random.default_rng(seed)
    for number in range(rounds):
        for way in WAYS:
            results = drill.folder / f"{way.name.replace(' ', '-')}.{number}"
            result = try_way(drill, reference, way, results, rng)
            if not result.faults:
                shutil.rmtree(results, ignore_errors=True)
            yield result


def try_way(drill: Drill, reference: Reference, way: Way, results: Path, rng: np.random.Generator) -> DrillResult:
    """Interrupt a run in this way, give the same command until it is done, and look at what came of it."""
    share = float(rng.uniform())
    for _ in range(MAX_TRIES):
        shutil.rmtree(results, ignore_errors=True)
        interrupted = _interrupt(drill, reference, way, results, share, rng)
        if interrupted.struck:
            break
        share /= 2  # the run was over before its time came
    else:
        return DrillResult(way=way, struck="never", runs=MAX_TRIES, faults=["no run lasted until it was interrupted"])
    faults = [*_faults_of(interrupted, way), *_mend(way, results)]
    runs, ended = 1, interrupted.ended
    for _ in range(MAX_RUNS):
        runs, ended = runs + 1, _run(drill, results)
        if ended is None or ended.exit_code == 0:
            break
    if ended is None or ended.exit_code != 0:
        faults.append(f"it is never done: {_describe(ended)}")
    tables = read_tables(results)
    faults += [f"{name} has other bytes" for name in COMPARED_TABLES if tables[name] != reference.tables[name]]
    return DrillResult(way=way, struck=interrupted.struck, runs=runs, faults=faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Interrupted:
    """A run that was interrupted."""

    ended: Ended | None  # None: it had to be killed
    struck: str  # when; "" where it was over before
    left: int  # processes that were still there after it


def _interrupt(
    drill: Drill, reference: Reference, way: Way, results: Path, share: float, rng: np.random.Generator
) -> _Interrupted:
    """A run that is interrupted after this share of its time, or of its operations."""
    counts, struck, count = drill.folder / "counts", "", 0
    remove_file(counts)
    if way.fault:
        count = 1 + int(share * count_operations(reference.counts, way.place))
    fault = f"{way.fault}:{count}" if way.fault else ""
    with started(drill.run_words(results), _log(results), fault=fault, counts=counts) as command:
        if way.sent is not None:
            moment = share * reference.seconds
            if command.wait(moment) is None and _send(command, way, rng):
                struck = f"after {moment:.1f} s"
        # A hang of the run itself ends only when somebody kills it.
        ended = command.wait(2 * reference.seconds + 3 * SUITE_HEARTBEAT_TIMEOUT if way.kind == "hang" else RUN_TIMEOUT)
        if ended is None:
            command.kill()
        left = len(command.left())
    if way.fault and counts.exists() and count_operations(counts.read_text("ascii"), way.place) >= count:
        struck = f"at number {count}"
    return _Interrupted(ended=ended, struck=struck, left=left)


def _log(results: Path) -> Path:
    return results.with_name(f"{results.name}.log")


def _send(command: Command, way: Way, rng: np.random.Generator) -> bool:
    """Send the signal of a way; whether there was something to send it to."""
    assert way.sent is not None
    targets = command.started() if way.to_started else [command.process.pid]
    if not targets:
        return False
    try:
        os.kill(int(rng.choice(targets)), way.sent)
    except ProcessLookupError:
        return False
    return True


def _faults_of(interrupted: _Interrupted, way: Way) -> Iterator[str]:
    """What is wrong with how an interrupted run ended."""
    if interrupted.left:
        yield f"{interrupted.left} processes were left running"
    ended = interrupted.ended
    if ended is None:
        if way.kind != "hang":
            yield _describe(ended)
        return
    fatal = {way.sent, FATAL.get(way.kind)}
    if ended.exit_code not in ORDERLY and -ended.exit_code not in fatal:
        yield f"it ended with {_describe(ended)}"
    if "Traceback" in ended.errors:
        yield f"it printed a traceback: {ended.last_line}"


def _mend(way: Way, results: Path) -> Iterator[str]:
    """Do what a user does after faults that are no interruption: verify after a flipped bit, forget a NaN."""
    results_dir = ResultsDir(results / SUITE_NAME)
    if way.kind == "bitflip" and results_dir.root.is_dir():
        with started(["verify", str(results_dir.root), "--repair"], _log(results)) as command:
            ended = command.wait(RUN_TIMEOUT)
        if ended is None or ended.exit_code not in (0, UsageError.exit_code):  # there may be no results yet
            yield f"verify --repair: {_describe(ended)}"
    if way.kind == "nan":
        failed = [row["key"] for row in _rows(results_dir) if row["status"] == "nonfinite"]
        if not failed:
            yield "no trial is nonfinite"
        for key in failed:
            remove_file(results_dir.record(key))


def _rows(results_dir: ResultsDir) -> list[dict[str, str]]:
    table = results_dir.root / "trials.csv"
    return list(csv.DictReader(table.read_text("utf-8").splitlines())) if table.is_file() else []


def _run(drill: Drill, results: Path) -> Ended | None:
    with started(drill.run_words(results), _log(results)) as command:
        return command.wait(RUN_TIMEOUT)


def _describe(ended: Ended | None) -> str:
    if ended is None:
        return f"no end after {RUN_TIMEOUT:.0f} s"
    return f"exit code {ended.exit_code}: {ended.last_line}"


def read_tables(results: Path) -> dict[str, bytes]:
    """The bytes of the tables; none for one that is missing."""
    paths = {name: results / SUITE_NAME / name for name in COMPARED_TABLES}
    return {name: path.read_bytes() if path.is_file() else b"" for name, path in paths.items()}
