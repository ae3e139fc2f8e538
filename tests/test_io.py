"""Files are written whole or not at all: a fault at any call leaves the old one or the new one, and no draft."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import io
from harness.errors import MachineError
from harness.io import make_folder, read_bytes, remove_old_drafts, write_atomically

OLD, NEW = b"what stood there", b"what is written instead" * 99
FAULTS = (errno.ENOSPC, errno.EIO, errno.EDQUOT)


class Disk:
    """The calls of the operating system that a write makes; the one numbered `fails` raises instead."""

    def __init__(self, monkeypatch, fails=None, code=0):
        self.made, self.fails, self.code = [], fails, code
        for name in ("open", "fsync", "rename", "replace", "unlink", "mkdir"):
            monkeypatch.setattr(os, name, self.counted(name, getattr(os, name)))
        opened = open

        def open_failing(descriptor, mode="r", **options):
            file = opened(descriptor, mode, **options)
            return FailingFile(file, self) if "w" in mode else file

        monkeypatch.setattr(io, "open", open_failing, raising=False)

    def counted(self, name, call):
        def counting(*args, **options):
            self.count(name)
            return call(*args, **options)

        return counting

    def count(self, name):
        self.made.append(name)
        if len(self.made) - 1 == self.fails:
            raise OSError(self.code, os.strerror(self.code))


class FailingFile:
    """A file whose writes are counted by the disk; a write that fails has written a part."""

    def __init__(self, file, disk):
        self.file, self.disk = file, disk

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        self.file.write(data[:7])
        self.disk.count("write")
        self.file.write(data[7:])

    def flush(self):
        self.disk.count("flush")
        self.file.flush()

    def fileno(self):
        return self.file.fileno()


WRITE = ["open", "write", "flush", "fsync", "replace", "open", "fsync"]  # the last two: of the folder


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@given(old=st.none() | st.binary(), new=st.binary())
def test_what_is_written_is_read_and_nothing_else_is_left(tmp_path_factory, old, new):
    path = tmp_path_factory.mktemp("files") / "a" / "b.json"
    for data in (old, new):
        if data is not None:
            write_atomically(path, data)
            assert read_bytes(path, max_bytes=len(data)) == data
    assert names_in(path.parent) == ["b.json"]


def test_a_write_syncs_the_file_then_renames_it_then_syncs_the_folder(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    write_atomically(tmp_path / "a.json", NEW)
    assert disk.made == WRITE


def test_a_folder_that_is_made_is_synced_into_the_one_above(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    make_folder(tmp_path / "a" / "b")
    assert disk.made == ["mkdir", "open", "fsync"] * 2
    make_folder(tmp_path / "a" / "b")
    assert len(disk.made) == 6


@pytest.mark.parametrize("code", FAULTS, ids=errno.errorcode.get)
@pytest.mark.parametrize("fails", range(len(WRITE)), ids=lambda i: f"{i}-{WRITE[i]}")
def test_a_fault_at_any_call_leaves_the_old_file_or_the_new_one_and_no_draft(tmp_path, monkeypatch, fails, code):
    path = tmp_path / "a.json"
    path.write_bytes(OLD)
    with monkeypatch.context() as patch:
        Disk(patch, fails, code)
        with pytest.raises(MachineError) as caught:
            write_atomically(path, NEW)
    assert str(caught.value) == f"can't write {path}: {os.strerror(code)} (errno {code})"
    assert caught.value.exit_code == 4
    assert path.read_bytes() == (OLD if fails <= WRITE.index("replace") else NEW)
    assert names_in(tmp_path) == ["a.json"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS], ids=errno.errorcode.get)
def test_a_mount_that_can_not_sync_folders_is_written_to(tmp_path, monkeypatch, code):
    sync = os.fsync

    def sync_files_only(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync_files_only)
    write_atomically(tmp_path / "new" / "a.json", NEW)
    assert (tmp_path / "new" / "a.json").read_bytes() == NEW


def test_a_file_that_can_not_be_synced_is_not_written(tmp_path, monkeypatch):
    Disk(monkeypatch, WRITE.index("fsync"), errno.EINVAL)
    with pytest.raises(MachineError, match="errno 22"):
        write_atomically(tmp_path / "a.json", NEW)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("fails", range(3))
def test_a_folder_that_can_not_be_made_is_an_error_that_names_the_file(tmp_path, monkeypatch, fails):
    path = tmp_path / "new" / "a.json"
    with monkeypatch.context() as patch:
        Disk(patch, fails, errno.ENOSPC)
        with pytest.raises(MachineError, match=r"a\.json: .* \(errno 28\)"):
            write_atomically(path, NEW)
    write_atomically(path, NEW)
    assert path.read_bytes() == NEW


def test_what_stops_a_write_leaves_no_draft_behind(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_bytes(OLD)
    monkeypatch.setattr(os, "fsync", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, NEW)
    assert (names_in(tmp_path), path.read_bytes()) == (["a.json"], OLD)


def test_a_fault_that_also_keeps_the_draft_is_told_by_its_first_cause(tmp_path, monkeypatch):
    Disk(monkeypatch, WRITE.index("fsync"), errno.ENOSPC)
    monkeypatch.setattr(os, "unlink", Mock(side_effect=OSError(errno.EIO, "Input/output error")))
    with pytest.raises(MachineError, match="errno 28"):
        write_atomically(tmp_path / "a.json", NEW)


def test_a_draft_is_opened_so_that_it_follows_no_link_and_takes_no_file(tmp_path, monkeypatch):
    victim, taken = tmp_path / "victim", []
    victim.write_bytes(OLD)
    opened = os.open

    def open_after_attack(path, flags, *mode):
        if not taken and flags & os.O_CREAT:
            taken.append(path)
            Path(path).symlink_to(victim)
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", open_after_attack)
    with pytest.raises(MachineError):
        write_atomically(tmp_path / "a.json", NEW)
    assert victim.read_bytes() == OLD


def test_drafts_of_the_dead_are_removed_and_those_of_the_living_and_files_of_a_user_stay(tmp_path):
    (tmp_path / "deep").mkdir()
    names = [f".a.json.{'0f' * 16}.draft", f"deep/.b.{'1e' * 16}.draft", ".mine.draft", f"c.{'1e' * 16}.draft"]
    for name in names:
        (tmp_path / name).write_bytes(OLD)
        os.utime(tmp_path / name, (10**9, 10**9))
    (tmp_path / f".living.{'2d' * 16}.draft").write_bytes(OLD)
    (tmp_path / "deep" / f".link.{'3c' * 16}.draft").symlink_to("nothing")
    remove_old_drafts(tmp_path)
    assert not any((tmp_path / name).exists() for name in names[:2])
    assert all((tmp_path / name).exists() for name in [*names[2:], f".living.{'2d' * 16}.draft"])


def test_a_link_is_replaced_and_what_it_points_to_is_left_alone(tmp_path):
    secret, path = tmp_path / "secret", tmp_path / "a.json"
    secret.write_bytes(OLD)
    path.symlink_to(secret)
    write_atomically(path, NEW)
    assert (secret.read_bytes(), path.read_bytes(), path.is_symlink()) == (OLD, NEW, False)


def test_every_draft_has_a_name_of_its_own_in_the_folder_of_the_file(tmp_path, monkeypatch):
    drafts, opened = [], os.open

    def note(path, flags, *mode):
        drafts.extend([Path(path)] if flags & os.O_CREAT else [])
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", note)
    for _ in range(3):
        write_atomically(tmp_path / "a.json", NEW)
    assert len(set(drafts)) == 3
    assert {draft.parent for draft in drafts} == {tmp_path}
    assert all(draft.name.startswith(".a.json.") for draft in drafts)


@pytest.mark.parametrize("name", ["a", "x" * 255, "\U0001f600" * 63, "e\u0301" * 80, "two\nlines", "-rf", " "])
def test_any_name_that_a_file_may_have_can_be_written(tmp_path, name):
    write_atomically(tmp_path / name, NEW)
    assert names_in(tmp_path) == [name]


@pytest.mark.parametrize("where", ["a.json/below", "x" * 256])
def test_a_path_that_can_not_be_is_an_error_of_the_machine(tmp_path, where):
    (tmp_path / "a.json").write_bytes(OLD)
    with pytest.raises(MachineError, match="can't write"):
        write_atomically(tmp_path / where, NEW)
    assert names_in(tmp_path) == ["a.json"]


def test_a_folder_is_not_replaced_by_a_file(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(MachineError, match="can't write"):
        write_atomically(tmp_path / "a.json", NEW)
    assert names_in(tmp_path) == ["a.json"]


def test_a_reader_sees_one_whole_file_or_the_other(tmp_path):
    """The old file may be read on, from where it was opened, while the new one takes its name."""
    path = tmp_path / "a.json"
    write_atomically(path, OLD)
    with path.open("rb", buffering=0) as reader:
        start = reader.read(5)
        write_atomically(path, NEW)
        assert start + reader.read() == OLD
    assert path.read_bytes() == NEW


def test_a_written_file_is_one_that_others_may_read(tmp_path):
    script = (
        "import os, sys, pathlib; from harness.io import write_atomically; os.umask(0o022);"
        "write_atomically(pathlib.Path(sys.argv[1]), b'')"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a")], check=True)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644
