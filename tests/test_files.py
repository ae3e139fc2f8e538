import errno
import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import files
from harness.errors import DamageError, MachineError
from harness.files import dump_sealed, load_sealed, make_folder, read_bytes, write_atomically

OLD, NEW = b"what stood there", b"what is written instead" * 99
FAULTS = (errno.ENOSPC, errno.EIO, errno.EDQUOT)

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=9
)
contents = st.dictionaries(st.text(), values, min_size=1, max_size=5)


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

        monkeypatch.setattr(files, "open", open_failing, raising=False)

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
            assert read_bytes(path, at_most=len(data)) == data
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
        read_bytes(tmp_path / "a.json", at_most=2**20)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_a_device_is_refused_unread(device):
    with pytest.raises(DamageError, match=device):
        read_bytes(Path(device), at_most=2**20)


@pytest.mark.timeout(20)
def test_a_file_that_is_too_large_is_refused_unread(tmp_path):
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(10 * 2**30)
    with pytest.raises(DamageError, match="10737418240 bytes, more than the 64"):
        read_bytes(path, at_most=64)


def test_a_file_of_just_the_size_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(bytes(64))
    assert read_bytes(path, at_most=64) == bytes(64)
    with pytest.raises(DamageError, match="has 64 bytes, more than the 63"):
        read_bytes(path, at_most=63)


def test_a_file_that_is_not_there_is_not_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "a.json", at_most=64)


def test_a_name_below_a_file_is_refused(tmp_path):
    (tmp_path / "a.json").write_bytes(OLD)
    with pytest.raises(DamageError, match="errno 20"):
        read_bytes(tmp_path / "a.json" / "b", at_most=64)


@pytest.mark.parametrize("call", ["open", "fstat"])
def test_a_disk_that_fails_to_read_is_told_with_path_and_errno(tmp_path, monkeypatch, call):
    path = tmp_path / "a.json"
    path.write_bytes(OLD)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, Mock(side_effect=OSError(errno.EIO, "Input/output error")))
        with pytest.raises(DamageError) as caught:
            read_bytes(path, at_most=64)
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
            read_bytes(tmp_path / kind, at_most=64)
    write_atomically(tmp_path / "a.json", OLD)
    with pytest.raises(DamageError):
        read_bytes(tmp_path / "a.json", at_most=1)
    read_bytes(tmp_path / "a.json", at_most=64)
    assert open_descriptors() == before


def sealed(body):
    """A file as a stranger may make it: any bytes, with a checksum that holds."""
    body = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    return body[:-1] + b',"sha256":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


@pytest.fixture
def stored(tmp_path):
    """Store bytes as a file, and read them as sealed JSON."""

    def store(data):
        path = tmp_path / "a.json"
        path.write_bytes(data)
        return load_sealed(path)

    return store


@given(contents)
def test_sealed_content_comes_back_as_it_was(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "sealed.json"
    path.write_bytes(dump_sealed(content))
    assert load_sealed(path) == content
    assert repr(load_sealed(path)) == repr(json.loads(json.dumps(content)))


def test_empty_content_comes_back_empty(stored):
    assert stored(dump_sealed({})) == {}


@given(contents)
def test_a_sealed_file_is_one_line_of_plain_json_with_its_digest_last(content):
    data = dump_sealed(content)
    whole = json.loads(data)
    assert data.isascii()
    assert data.endswith(b"}\n")
    assert data.count(b"\n") == 1
    assert list(whole)[-1] == "sha256"


@given(contents)
def test_equal_content_is_sealed_in_equal_bytes(content):
    assert dump_sealed(content) == dump_sealed(json.loads(json.dumps(content)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_has_not_is_not_written(value):
    with pytest.raises(ValueError, match="JSON"):
        dump_sealed({"a": value})


DATA = dump_sealed({"key": "0123456789abcdef", "value": [0.5, None, -1e-9], "text": 'say "sha256":"'})


def test_any_single_bit_that_flips_is_seen(stored):
    for bit in range(8 * len(DATA)):
        flipped = bytearray(DATA)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamageError, match="checksum"):
            stored(bytes(flipped))


def test_any_part_that_is_missing_is_seen(stored):
    for length in range(len(DATA)):
        with pytest.raises(DamageError, match="checksum"):
            stored(DATA[:length])
        with pytest.raises(DamageError, match="checksum"):
            stored(DATA[length + 1 :])


@pytest.mark.parametrize("more", [b"\n", b" ", b"\0", DATA, b"x" * 512], ids=repr)
def test_anything_that_is_added_is_seen(stored, more):
    for data in (DATA + more, more + DATA):
        if data[: len(DATA)] == data[len(DATA) :]:
            continue
        with pytest.raises(DamageError, match="checksum"):
            stored(data)


def test_a_block_of_zeros_is_seen(stored):
    for start in range(0, len(DATA), 16):
        with pytest.raises(DamageError, match="checksum"):
            stored(DATA[:start] + bytes(16) + DATA[start + 16 :])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"null\n",
        json.dumps({"a": 1}).encode(),
        json.dumps({"a": 1, "sha256": "0" * 64}, separators=(",", ":")).encode() + b"\n",
        DATA.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + DATA,
        DATA.upper(),
        DATA.replace(b"\n", b"\r\n"),
        bytes(4096),
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_not_sealed_is_refused(stored, data):
    with pytest.raises(DamageError, match="checksum"):
        stored(data)


@pytest.mark.parametrize(
    "body",
    [
        '{"a":1,"a":2}',
        '{"a":{"b":1,"b":1}}',
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":[-Infinity]}',
        '{"a":1e400}',
        '{"a":-1e400}',
        '{"a":' + "1" * 5000 + "}",
        '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        b"\xef\xbb\xbf" + b'{"a":1}',
        '{"a":"\u00e9"}',
        '{"a":"\ud800"}',
        b'{"a":"\xff"}',
        '{"a":1}'.encode("utf-16-le") + b"}",
        '{"a":1,}',
        "{'a':1}",
        '{"a":1}{"b":2}',
        '{"a":01}',
        '{"a":"\n"}',
        "nonsense}",
        "}",
    ],
    ids=lambda body: repr(body[:24]),
)
@pytest.mark.timeout(20)
def test_a_strangers_json_is_read_strictly_though_its_checksum_holds(stored, body):
    with pytest.raises(DamageError, match="not JSON as this project writes it"):
        stored(sealed(body))


def test_a_lone_surrogate_that_is_escaped_is_a_text_like_any(stored):
    assert stored(sealed('{"a":"\\ud800"}')) == {"a": "\ud800"}


def test_a_sealed_file_that_is_too_large_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_bytes(DATA)
    monkeypatch.setattr(files, "MAX_JSON_BYTES", len(DATA) - 1)
    with pytest.raises(DamageError, match="more than the"):
        load_sealed(path)


def test_every_refusal_names_the_file(tmp_path):
    path = tmp_path / "a.json"
    for data in (DATA[1:], sealed('{"a":NaN}')):
        path.write_bytes(data)
        with pytest.raises(DamageError, match=str(path)):
            load_sealed(path)


def test_a_written_file_is_one_that_others_may_read(tmp_path):
    script = (
        "import os, sys, pathlib; from harness.files import write_atomically; os.umask(0o022);"
        "write_atomically(pathlib.Path(sys.argv[1]), b'')"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a")], check=True)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644
