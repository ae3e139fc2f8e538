"""The drill: what it calls well survives, and what does not survive it names."""

import pytest

from harness.cli import main
from harness.errors import MachineError
from harness.execution.drill import drill as drills
from harness.execution.drill.drill import COMPARED_TABLES, Reference, prepare_drill, run_drill, run_uninterrupted
from harness.execution.drill.ways import WAYS, Way
from harness.fault_injection import parse_fault
from harness.spec.loader import load_suite

KILL = Way(name="kill@storage", fault="kill@storage")


def test_every_fault_of_a_way_is_one():
    faults = [way.fault for way in WAYS if way.fault]
    assert [parse_fault(f"{fault}:1").place for fault in faults] == [fault.partition("@")[2] for fault in faults]
    assert len({way.name for way in WAYS}) == len(WAYS)


def test_the_suite_of_the_drill_is_a_suite(tmp_path):
    drill = prepare_drill(tmp_path / "new", "local")
    trials = list(load_suite(drill.folder / "drill.py").trials(device="cpu"))
    assert len(trials) == 12
    assert {trial.model for trial in trials} == {"mlp-16x2", "unhurried"}


def test_results_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="choose another --results"):
        prepare_drill(tmp_path / "file", "local")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--drill-rounds", "0"], "--drill-rounds must be a number from 1 up, got '0'"),
        (["--drill-seed", "x"], "--drill-seed must be a number from 0 up, got 'x'"),
    ],
)
def test_wrong_numbers_are_refused(words, message, capsys):
    assert main(["doctor", "--drill", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_run_that_is_killed_passes_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(drills, "WAYS", (KILL,))
    assert main(["doctor", "--drill", "--results", str(tmp_path), "--drill-seed", "3"]) == 0
    first, second, third, last = capsys.readouterr().out.splitlines()
    assert first == "seed 3: `python -m harness doctor --drill --drill-seed 3` draws the same moments"
    assert second.startswith("without interruption: ")
    assert third.startswith("kill@storage")
    assert third.endswith("2 runs  the same tables")
    assert last.startswith("1 of 1 interruptions left the same tables, in ")
    assert list(tmp_path.iterdir()) == []


REFERENCE = Reference(tables=dict.fromkeys(COMPARED_TABLES, b"right"), seconds=0.5, counts="cwsrs" * 9)
FAKE = """
while [ "$1" != --results ]; do shift; done
mkdir -p "$2/drill"; cd "$2/drill"
test -n "$HARNESS_FAULT" && printf %s cwsrscwsrscwsrscwsrscwsrscwsrscwsrscwsrscwsrs >"$HARNESS_FAULT_FILE"
"""


def fake_run(tmp_path, monkeypatch, script):
    """What the drill makes of a harness that does this."""
    path = tmp_path / "harness"
    path.write_text(FAKE + script)
    monkeypatch.setattr("harness.execution.drill.commands.PROGRAM", ["/bin/sh", str(path)])
    monkeypatch.setattr(drills, "WAYS", (KILL,))
    drill = prepare_drill(tmp_path / "results", "local")
    (result,) = run_drill(drill, REFERENCE, seed=1, rounds=1)
    return result


RIGHT = "for table in trials.csv curves.parquet; do printf right >$table; done\n"


def test_a_harness_that_does_right_passes(tmp_path, monkeypatch):
    result = fake_run(tmp_path, monkeypatch, RIGHT + 'test -z "$HARNESS_FAULT" || kill -9 $$')
    assert (result.faults, result.runs) == ([], 2)


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (RIGHT + "printf wrong >trials.csv", "trials.csv has other bytes"),
        (RIGHT + "printf wrong >curves.parquet", "curves.parquet has other bytes"),
        (RIGHT + 'test -z "$HARNESS_FAULT" || exit 3', "it ended with exit code 3: it says nothing"),
        (RIGHT + "echo Traceback >&2; echo oh >&2", "it printed a traceback: oh"),
        (RIGHT + 'test -n "$HARNESS_FAULT" || { echo no >&2; exit 1; }', "it is never done: exit code 1: no"),
        (RIGHT + "sleep 5 & true", "1 processes were left running"),
    ],
)
def test_a_harness_that_does_wrong_is_found_out(tmp_path, monkeypatch, script, fault):
    monkeypatch.setattr("harness.execution.drill.commands.LEFT_GRACE", 0.2)
    result = fake_run(tmp_path, monkeypatch, script)
    assert fault in "\n".join(result.faults)


def test_a_suite_that_cannot_be_run_is_an_error_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.execution.drill.commands.PROGRAM", ["/bin/sh", "-c", "echo no compiler >&2; exit 4"])
    with pytest.raises(MachineError, match="the suite of the drill can't be run here: no compiler"):
        run_uninterrupted(prepare_drill(tmp_path, "local"))
