"""Every operation on files fails once, in every way: nothing acknowledged is lost, and going on gives the same."""

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import fault_injection
from harness.errors import HarnessError
from harness.fault_injection import FILE_VARIABLE, VARIABLE, arm, count_operations
from tests.support.storage_world import check, play, results_of, tables_in

pytestmark = pytest.mark.faults
EVERY = int(os.environ.get("HARNESS_EVERY", "5"))  # each so many-th operation fails in turn
KINDS = ("kill", "eio", "enospc", "oom")
OPERATIONS = 63  # of one play: a change that costs more shall be noticed


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("uninterrupted")
    play(root)
    return tables_in(root)


def play_with(fault: str, root: Path) -> tuple[int, set[str]]:
    """How a process ends that plays with this fault, and what it has acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 70
        try:
            os.close(reading)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os.environ.update({VARIABLE: fault, FILE_VARIABLE: str(root / "counts")})
            arm()
            play(root, lambda name: os.write(writing, f"{name}\n".encode()))
            code = 0
        except (HarnessError, OSError, MemoryError):
            code = 4
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        acknowledged = set(pipe.read().splitlines())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), acknowledged


def test_the_number_of_operations_is_the_known_one(tmp_path):
    code, acknowledged = play_with("kill@storage:999999", tmp_path)
    assert (code, "tables" in acknowledged) == (0, True)
    assert count_operations((tmp_path / "counts").read_text(), "storage") == OPERATIONS
    assert not fault_injection.is_armed()


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_any_operation_loses_nothing_that_was_acknowledged(tmp_path, tables, kind):
    numbers = range(1 + random.randrange(EVERY), OPERATIONS + 1, EVERY)
    print(f"{kind} at {numbers} of {OPERATIONS} operations")
    for number in numbers:
        root = tmp_path / str(number)
        root.mkdir()
        code, acknowledged = play_with(f"{kind}@storage:{number}", root)
        # A stamp that can't be written is done without.
        assert code == (-signal.SIGKILL if kind == "kill" else 4) or (kind != "kill" and "tables" in acknowledged)
        check(root, acknowledged, tables)
        if kind != "kill":
            assert list(drafts(root)) == []
        play(root)
        check(root, {"tables"}, tables)
        assert tables_in(root) == tables


def test_a_read_that_fails_at_any_moment_changes_nothing_of_what_comes_out(tmp_path, tables):
    root = tmp_path / "counted"
    root.mkdir()
    play_with("kill@storage:999999", root)
    for number in range(1, count_operations((root / "counts").read_text(), "read") + 1):
        root = tmp_path / str(number)
        root.mkdir()
        _, acknowledged = play_with(f"eio@read:{number}", root)
        check(root, acknowledged, None)
        play(root)
        assert tables_in(root) == tables


def drafts(root: Path) -> Iterator[Path]:
    return results_of(root).root.rglob(".*.draft")
