"""Faults on purpose: the k-th operation of a run fails as asked for, once, whichever process comes to it."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness import fault_injection
from harness.errors import DamageError, MachineError, UsageError
from harness.fault_injection import FAULT_KINDS, FILE_VARIABLE, PLACES, VARIABLE, Fault, arm, inject, parse_fault
from harness.io import (
    dump_checked_json,
    load_checked_json,
    make_folder,
    move,
    read_bytes,
    remove_file,
    write_atomically,
)
from tests.cli.conftest import CommandLine

WRITE = "cwsrs"  # what a file costs: create, write, sync, rename, and its folder synced
DATA = b"what is written" * 9


@pytest.fixture
def fault(tmp_path, monkeypatch):
    """Arm this process; the file of the counts."""
    counts = tmp_path / "counts"

    def arm_with(text: str) -> Path:
        monkeypatch.setenv(VARIABLE, text)
        monkeypatch.setenv(FILE_VARIABLE, str(counts))
        arm()
        return counts

    yield arm_with
    monkeypatch.delenv(VARIABLE, raising=False)
    arm()
    assert not fault_injection.is_armed()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_a_fault_is_what_it_says_or_is_refused(kind, place):
    fits = {"nan": place == "step", "bitflip": place == "write"}.get(kind, place != "message")
    if fits or (place == "message" and kind in ("kill", "sigterm", "hang")):
        assert parse_fault(f"{kind}@{place}:37") == Fault(kind, place, 37)
    else:
        with pytest.raises(UsageError, match=f"{kind} can't happen at a {place}; its place is"):
            parse_fault(f"{kind}@{place}:37")


BAD = ["kill", "kill@write", "kill@write:0", "kill@write:-1", "kill@write:x", "@write:1", "kill@:1", "kill@write:1:2"]


@pytest.mark.parametrize(
    "text", [*BAD, "kill@write:" + "9" * 99, " kill@write:1", "kill@write:1\n", "kil@write:1", "kill@wrote:1"]
)
def test_a_wrong_value_is_refused_in_one_line(text):
    with pytest.raises(UsageError, match=VARIABLE) as caught:
        parse_fault(text)
    assert "\n" not in str(caught.value)


def test_a_wrong_value_ends_the_command_with_2_and_one_line(tmp_path):
    ran = run_with(CommandLine(tmp_path), "kill@wrote:1", "status", "nothing")
    assert ran.returncode == 2
    assert ran.stderr.startswith("harness: HARNESS_FAULT has the unknown place 'wrote'; choose from: create, write")
    assert ran.stderr.count("\n") == 1


def run_with(line, fault, *words, **variables):
    command, environment = [sys.executable, "-m", "harness", *words], {**os.environ, VARIABLE: fault, **variables}
    return subprocess.run(command, cwd=line.folder, env=environment, capture_output=True, text=True, check=False)


def test_without_the_variable_nothing_is_counted(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "counts"))
    arm()
    write_atomically(tmp_path / "a", DATA)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_every_operation_leaves_its_letter_in_the_file(tmp_path, fault):
    counts = fault("kill@storage:1000000")
    write_atomically(tmp_path / "a", DATA)
    assert counts.read_text() == WRITE
    read_bytes(tmp_path / "a", max_bytes=999)
    assert counts.read_text() == WRITE + "i"
    make_folder(tmp_path / "b")
    move(tmp_path / "a", tmp_path / "b" / "a")
    remove_file(tmp_path / "b" / "a")
    assert counts.read_text() == WRITE + "i" + "ds" + "rss" + "x"


@pytest.mark.parametrize(("kind", "code"), [("eio", errno.EIO), ("enospc", errno.ENOSPC)])
@pytest.mark.parametrize("count", range(1, len(WRITE) + 1))
def test_the_operation_of_that_number_fails_and_no_other(tmp_path, fault, kind, code, count):
    fault(f"{kind}@storage:{count}")
    with pytest.raises(MachineError, match=rf"can't write .*\(errno {code}\)"):
        write_atomically(tmp_path / "a", DATA)
    assert (tmp_path / "a").exists() == (count == len(WRITE))
    write_atomically(tmp_path / "a", DATA)
    assert (tmp_path / "a").read_bytes() == DATA


def test_operations_of_other_kinds_are_not_counted(tmp_path, fault):
    fault("eio@rename:2")
    write_atomically(tmp_path / "a", DATA)
    with pytest.raises(MachineError):
        write_atomically(tmp_path / "a", DATA[:3])
    assert (tmp_path / "a").read_bytes() == DATA


def test_a_read_that_fails_is_damage(tmp_path, fault):
    write_atomically(tmp_path / "a", DATA)
    fault("eio@read:1")
    with pytest.raises(DamageError, match="errno 5"):
        read_bytes(tmp_path / "a", max_bytes=999)
    assert read_bytes(tmp_path / "a", max_bytes=999) == DATA


def test_a_flipped_bit_is_written_and_noticed_when_it_is_read(tmp_path, fault):
    fault("bitflip@write:1")
    content = dump_checked_json({"a": "b" * 99})
    write_atomically(tmp_path / "a", content)
    written = (tmp_path / "a").read_bytes()
    assert sum((a ^ b).bit_count() for a, b in zip(written, content, strict=True)) == 1
    with pytest.raises(DamageError, match="checksum"):
        load_checked_json(tmp_path / "a")


def test_memory_that_runs_out_is_a_memory_error_and_leaves_no_draft(tmp_path, fault):
    fault("oom@sync:1")
    with pytest.raises(MemoryError):
        write_atomically(tmp_path / "a", DATA)
    assert [path.name for path in tmp_path.iterdir()] == ["counts"]


def test_nan_is_left_to_the_caller(fault):
    fault("nan@step:2")
    assert [inject("step") for _ in range(3)] == ["", "nan", ""]


SCRIPT = """
import sys
from pathlib import Path
from harness.fault_injection import arm
from harness.io import write_atomically
arm()
for number in range(9):
    write_atomically(Path(sys.argv[1]) / str(number), b"0123456789")
    print(number, flush=True)
"""


def writer(folder, fault):
    """A process that writes nine files, one after the other."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, VARIABLE: fault, FILE_VARIABLE: str(folder / "counts")},
    )


def test_a_killed_process_leaves_half_of_what_it_wrote_in_a_draft_and_its_successor_is_spared(tmp_path):
    first = writer(tmp_path, "kill@write:4")
    out, err = first.communicate()
    assert (first.returncode, out) == (-signal.SIGKILL, "0\n1\n2\n")
    assert err.startswith("harness: fault injected: kill at write (")
    (draft,) = tmp_path.glob(".*.draft")
    assert draft.read_bytes() == b"01234"
    again = writer(tmp_path, "kill@write:4")
    out, err = again.communicate()
    assert (again.returncode, len(out.split()), err) == (0, 9, "")


def test_of_processes_that_count_together_one_is_struck(tmp_path):
    writers = [writer(tmp_path, "kill@storage:77") for _ in range(3)]
    for process in writers:
        process.communicate()
    assert sorted(process.returncode for process in writers) == [-signal.SIGKILL, 0, 0]


def test_a_process_is_terminated_by_its_own_signal(tmp_path):
    process = writer(tmp_path, "sigterm@sync:3")
    process.communicate()
    assert process.returncode == -signal.SIGTERM


def test_a_file_that_cannot_be_written_is_refused(fault, tmp_path):
    (tmp_path / "counts").mkdir()
    with pytest.raises(UsageError, match=FILE_VARIABLE):
        fault("kill@write:1")


def test_a_file_of_counts_is_made_where_none_is_given_and_removed_at_the_end(tmp_path):
    command = [
        sys.executable,
        "-c",
        "from harness.fault_injection import arm; import os; arm(); print(os.environ['HARNESS_FAULT_FILE'])",
    ]
    environment = {**os.environ, VARIABLE: "kill@write:9", "TMPDIR": str(tmp_path)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    path = Path(ran.stdout.strip())
    assert (path.parent, path.exists()) == (tmp_path, False)
