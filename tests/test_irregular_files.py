"""Reading what may be anything: only a regular file of a fair size is read, and nothing stays open."""

import errno
import os
import socket
from pathlib import Path
from unittest.mock import Mock

import pytest

from harness.errors import DamageError
from harness.io import read_bytes, write_atomically
from tests.test_io import OLD


def bound_socket(path):
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(path))


IRREGULAR = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "link": lambda path: path.symlink_to("/etc/hostname"),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "link to itself": lambda path: path.symlink_to(path),
    "socket": bound_socket,
}


@pytest.mark.parametrize("kind", IRREGULAR)
@pytest.mark.timeout(20)
def test_what_is_no_regular_file_is_refused_unread(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    IRREGULAR[kind](tmp_path / "a.json")
    with pytest.raises(DamageError, match=r"a\.json"):
        read_bytes(tmp_path / "a.json", max_bytes=2**20)


@pytest.mark.parametrize("kind", [kind for kind in IRREGULAR if kind.startswith("link")])
def test_a_link_is_called_one_and_has_a_remedy(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    IRREGULAR[kind](tmp_path / "a.json")
    with pytest.raises(DamageError, match=r"a\.json: it is a link; put the file itself in its place \(cp -L, dvc"):
        read_bytes(tmp_path / "a.json", max_bytes=2**20)


def test_a_loop_of_links_above_the_file_is_told_as_such(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DamageError, match="errno 40"):
        read_bytes(tmp_path / "loop" / "a.json", max_bytes=2**20)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_a_device_is_refused_unread(device):
    with pytest.raises(DamageError, match=device):
        read_bytes(Path(device), max_bytes=2**20)


@pytest.mark.timeout(20)
def test_a_file_that_is_too_large_is_refused_unread(tmp_path):
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(10 * 2**30)
    with pytest.raises(DamageError, match="10737418240 bytes, more than the 64"):
        read_bytes(path, max_bytes=64)


def test_a_file_of_just_the_size_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(bytes(64))
    assert read_bytes(path, max_bytes=64) == bytes(64)
    with pytest.raises(DamageError, match="has 64 bytes, more than the 63"):
        read_bytes(path, max_bytes=63)


def test_a_file_that_is_not_there_is_not_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "a.json", max_bytes=64)


def test_a_name_below_a_file_is_refused(tmp_path):
    (tmp_path / "a.json").write_bytes(OLD)
    with pytest.raises(DamageError, match="errno 20"):
        read_bytes(tmp_path / "a.json" / "b", max_bytes=64)


@pytest.mark.parametrize("call", ["open", "fstat"])
def test_a_disk_that_fails_to_read_is_told_with_path_and_errno(tmp_path, monkeypatch, call):
    path = tmp_path / "a.json"
    path.write_bytes(OLD)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, Mock(side_effect=OSError(errno.EIO, "Input/output error")))
        with pytest.raises(DamageError) as caught:
            read_bytes(path, max_bytes=64)
    assert str(caught.value) == f"can't read {path}: Input/output error (errno 5)"


def open_descriptors():
    return [number for number in range(256) if is_open(number)]


def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def test_no_descriptor_is_left_open(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind, make in IRREGULAR.items():
        make(tmp_path / kind)
    before = open_descriptors()
    for kind in IRREGULAR:
        with pytest.raises(DamageError):
            read_bytes(tmp_path / kind, max_bytes=64)
    write_atomically(tmp_path / "a.json", OLD)
    with pytest.raises(DamageError):
        read_bytes(tmp_path / "a.json", max_bytes=1)
    read_bytes(tmp_path / "a.json", max_bytes=64)
    assert open_descriptors() == before
