"""Runs of the real command that are killed, that fail at every operation, and that are started eight at a time."""

import os
import random
import shutil
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.execution.drill.commands import started
from harness.execution.drill.drill import Drill, Reference, prepare_drill, read_tables, run_uninterrupted
from harness.execution.drill.suite import SUITE_NAME
from harness.fault_injection import FILE_VARIABLE, VARIABLE, count_operations
from harness.storage.records import ResultsDir, read_record
from tests.cli.conftest import TINY, CommandLine

KILLS = int(os.environ.get("HARNESS_KILLS", "20"))
EVERY = int(os.environ.get("HARNESS_EVERY", "10"))  # each so many-th operation of a run fails in turn
SUPERVISORS = 8
PATIENCE = 600.0  # seconds for a run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]


@pytest.fixture(scope="module")
def drill(tmp_path_factory) -> Drill:
    return prepare_drill(tmp_path_factory.mktemp("runs"), "local")


@pytest.fixture(scope="module")
def reference(drill) -> Reference:
    return run_uninterrupted(drill)


def test_killed_at_any_moment_runs_come_out_the_same(drill, reference):
    seed = random.randrange(10**6)
    print(f"seed of the kills: {seed}")
    rng, kills, complete = random.Random(seed), 0, 0
    results, log = drill.folder / "killed", drill.folder / "killed.log"
    while kills < KILLS:
        with started(drill.run_words(results), log) as command:
            ended = command.wait(rng.uniform(0, 1.3 * reference.seconds))
            if ended is None:
                kills += 1
                command.kill()
            assert command.left() == [], f"after {kills} kills"
        if ended is not None:
            assert ended.exit_code == 0, ended.errors
            assert read_tables(results) == reference.tables
            complete += 1
            shutil.rmtree(results)
    with started(drill.run_words(results), log) as command:
        ended = command.wait(PATIENCE)
    assert ended is not None
    assert ended.exit_code == 0, ended.errors
    assert read_tables(results) == reference.tables
    print(f"{kills} kills, {complete + 1} runs complete")


def test_supervisors_side_by_side_train_each_trial_once_and_come_out_the_same(drill, reference):
    results, begun = drill.folder / "together", time.monotonic()
    waiting = [drill.folder / f"together-{number}.log" for number in range(SUPERVISORS)]
    while waiting:
        assert time.monotonic() - begun < PATIENCE
        with ExitStack() as running:
            commands = [running.enter_context(started(drill.run_words(results), log)) for log in waiting]
            ended = {command.log: command.wait(PATIENCE) for command in commands}
        assert all(end.exit_code == 0 or "another run is at work" in end.errors for end in ended.values())
        waiting = [log for log, end in ended.items() if end.exit_code != 0]
    assert read_tables(results) == reference.tables
    records = [read_record(path) for path in ResultsDir(results / SUITE_NAME).records.glob("*.json")]
    assert {record.telemetry["attempts"] for record in records} == {1}


def in_a_child(line: CommandLine, results: Path, fault: str, counts: Path) -> int:
    """The exit code of a run in a child of this process, which has torch loaded."""
    child = os.fork()
    if not child:
        code = 70
        try:
            for number in (1, 2):
                os.dup2(os.open(line.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
            os.chdir(line.folder)
            os.environ[FILE_VARIABLE] = str(counts)
            os.environ.pop(VARIABLE, None)
            if fault:
                os.environ[VARIABLE] = fault
            from harness.cli import main

            code = main(["run", "tiny", "--executor", "in-process", "--results", str(results), "--progress", "none"])
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("kind", ["kill", "eio", "enospc"])
def test_a_fault_at_any_operation_of_a_run_changes_nothing_of_what_comes_out(tmp_path, kind):
    line = CommandLine(tmp_path)
    line.suite(TINY.replace("seed=range(3)", "seed=range(2), save_models=True").replace("0.03, 0.3, 1e30", "0.3, 1e30"))
    counts = tmp_path / "counts"
    assert in_a_child(line, tmp_path / "results", "kill@step:999999", counts) == 0
    total = count_operations(counts.read_text(), "storage")
    struck = 0
    for number in range(1 + random.randrange(EVERY), total + 1, EVERY):
        counts.unlink()
        results = tmp_path / "interrupted"
        code = in_a_child(line, results, f"{kind}@storage:{number}", counts)
        struck += count_operations(counts.read_text(), "storage") >= number
        assert code in ((-9,) if kind == "kill" else (0, 1, 4)), (tmp_path / "log").read_text()
        code = in_a_child(line, results, "", counts)
        assert code == 0, (number, (tmp_path / "log").read_text())
        assert line.tables(results="interrupted") == line.tables(), number
        shutil.rmtree(results)
    assert "Traceback" not in (tmp_path / "log").read_text()
    print(f"{kind}: {struck} of {total} operations")
