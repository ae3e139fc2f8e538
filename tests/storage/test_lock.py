"""One run at a time owns a results folder: a second is refused in a line, and what died owns nothing."""

import subprocess
import sys

import pytest

from harness.errors import MachineError
from harness.storage.lock import lock_results
from harness.storage.records import ResultsDir

OWNER = """
import sys
from pathlib import Path
from harness.errors import HarnessError
from harness.storage.lock import lock_results
from harness.storage.records import ResultsDir
try:
    with lock_results(ResultsDir(Path(sys.argv[1]))):
        print("owner", flush=True)
        sys.stdin.read()
except HarnessError as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
"""


@pytest.fixture
def place(tmp_path):
    return ResultsDir(tmp_path / "suite")


def owner_of(place):
    """Another process that owns the results folder, or fails to."""
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, str(place.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_folder_that_another_process_owns_is_refused_until_that_process_dies(place):
    with owner_of(place) as other:
        assert other.stdout.readline() == "owner\n"
        with pytest.raises(MachineError, match="another run is at work in") as caught, lock_results(place):
            pass
        assert caught.value.exit_code == 4
        other.kill()
    with lock_results(place):
        pass


def test_a_second_owner_ends_with_exit_code_4_and_one_line(place):
    with lock_results(place), owner_of(place) as other:
        said, _ = other.communicate()
    assert other.returncode == 4
    assert said == f"another run is at work in {place.root}; wait for it, or choose another --results\n"


def test_an_owner_in_the_same_process_is_refused_too(place):
    with lock_results(place), pytest.raises(MachineError, match="another run"), lock_results(place):
        pass
    with lock_results(place):
        pass


def test_a_folder_is_let_go_where_its_owner_fails(place):
    with pytest.raises(ZeroDivisionError), lock_results(place):
        raise ZeroDivisionError
    with lock_results(place):
        pass


def test_a_lock_that_is_a_link_is_called_one(place, tmp_path):
    place.root.mkdir()
    (place.root / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MachineError, match="it is a link; delete it"), lock_results(place):
        pass


@pytest.mark.parametrize("obstacle", ["file", "link", "folder"])
def test_a_folder_that_can_not_be_owned_is_an_error_of_the_machine(place, tmp_path, obstacle):
    lock, secret = place.root / ".lock", tmp_path / "secret"
    secret.write_bytes(b"old")
    match obstacle:
        case "file":
            place.root.write_bytes(b"")
        case "link":
            place.root.mkdir()
            lock.symlink_to(secret)
        case "folder":
            lock.mkdir(parents=True)
    with pytest.raises(MachineError, match="choose another --results"), lock_results(place):
        pass
    assert secret.read_bytes() == b"old"


def test_a_lock_that_the_disk_can_not_give_is_not_said_to_be_taken(place, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(37, f"No locks available for {descriptor} and {operation}")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(MachineError, match=r"can't lock .*No locks available .*\(errno 37\)"), lock_results(place):
        pass
