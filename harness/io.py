"""Files that a fault can't tear: atomic writes, and JSON that carries its own checksum.

Whatever changes a results folder is done here, so that faults can be tried at every operation.
"""

import errno
import hashlib
import json
import math
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn
from uuid import uuid4

from harness.errors import DamageError, MachineError
from harness.fault_injection import flip_bit, inject, is_armed

MAX_JSON_BYTES = 64 * 2**20
# Links are not followed, since a results folder of somebody else could point anywhere.
LINK_REMEDY = "it is a link; put the file itself in its place (cp -L, dvc unprotect, git annex unlock)"
DRAFT_NAME = re.compile(r"\..*\.[0-9a-f]{32}\.draft", re.DOTALL)
DRAFT_SECONDS = 3600.0  # after which whoever wrote a draft is taken for dead
# What a mount says that can't sync folders (CIFS, 9p, many of FUSE); files are written and renamed there as anywhere.
CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` so that a reader sees all of it or none of it, even after a power cut."""
    draft = _draft_of(path)
    try:
        make_folder(path.parent)
        try:
            _write(draft, data)
            # A rename is atomic, a write is not: a killed run must leave no half file.
            inject("rename", path)
            draft.replace(path)
        except BaseException:
            with suppress(OSError):  # what went wrong first is what to tell
                remove_file(draft)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise MachineError(f"can't write {path}: {error.strerror} (errno {error.errno})") from error


def write_unsynced(path: Path, data: bytes) -> None:
    """Write `data` so that a reader sees all or none of it, as long as the power is on; OSError where it can't."""
    draft = _draft_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _write(draft, data, is_synced=False)
        inject("rename", path)
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            remove_file(draft)
        raise


def create_atomically(path: Path, data: bytes) -> bool:
    """Write a file that nobody has written yet, whole and lasting; false where somebody has."""
    draft = _draft_of(path)
    try:
        make_folder(path.parent)
        try:
            _write(draft, data)
            inject("rename", path)
            os.link(draft, path)  # which fails where there is such a name, as a rename does not
        except FileExistsError:
            return False
        finally:
            remove_file(draft)
        sync_folder(path.parent)
    except OSError as error:
        raise MachineError(f"can't write {path}: {error.strerror} (errno {error.errno})") from error
    return True


def _draft_of(path: Path) -> Path:
    """A name of its own for what is to become this file."""
    return path.with_name(f".{path.name[:50]}.{uuid4().hex}.draft")


def _write(path: Path, data: bytes, *, is_synced: bool = True) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    inject("create", path)
    with open(os.open(path, flags, 0o644), "wb") as file:  # noqa: PTH123 (a descriptor, not a path)
        if is_armed():
            file.write(data[: len(data) // 2])
            file.flush()
            kind, data = inject("write", path), data[len(data) // 2 :]
            data = flip_bit(data) if kind == "bitflip" else data
        file.write(data)
        file.flush()
        if is_synced:
            inject("sync", path)
            os.fsync(file.fileno())


def remove_old_drafts(folder: Path) -> None:
    """Remove what processes that were killed in the middle of a write have left, in a folder and those in it."""
    for path in folder.rglob(".*.draft"):
        with suppress(OSError):  # another process removes it, too
            if DRAFT_NAME.fullmatch(path.name) and time.time() - path.lstat().st_mtime > DRAFT_SECONDS:
                remove_file(path)


def make_folder(folder: Path, *, exist_ok: bool = True) -> None:
    """Make a folder that lasts, and those above it that are missing."""
    if not exist_ok or not folder.is_dir():
        make_folder(folder.parent)
        inject("mkdir", folder)
        folder.mkdir(exist_ok=exist_ok)
        sync_folder(folder.parent)


def remove_file(path: Path) -> None:
    """Remove a file, if it is there. After a power cut it may be there again."""
    inject("remove", path)
    path.unlink(missing_ok=True)


def move(path: Path, target: Path) -> None:
    """Move a file or a folder, so that it stays moved; a file in its place is replaced."""
    inject("rename", target)
    path.rename(target)
    sync_folder(target.parent)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last: without it a rename that was acknowledged can be lost in a power cut.

    A mount that has no such call orders the names by itself, as well as it can.
    """
    inject("sync", folder)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)


def read_bytes(path: Path, *, max_bytes: int) -> bytes:
    """The content of a regular file; a link, a pipe, a device or too large a file is refused unread."""
    with open_regular(path, max_bytes=max_bytes) as file:
        return file.read()


@contextmanager
def open_regular(path: Path, *, max_bytes: int) -> Iterator[BinaryIO]:
    """A regular file, open to read; a link, a pipe, a device or too large a file is refused."""
    try:
        inject("read", path)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP and path.is_symlink():
            raise DamageError(f"can't read {path}: {LINK_REMEDY}") from error
        raise DamageError(f"can't read {path}: {error.strerror} (errno {error.errno})") from error
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            raise DamageError(f"{path} is not a regular file")
        if info.st_size > max_bytes:
            raise DamageError(f"{path} has {info.st_size} bytes, more than the {max_bytes} that such a file can have")
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    except OSError as error:
        raise DamageError(f"can't read {path}: {error.strerror} (errno {error.errno})") from error
    finally:
        os.close(descriptor)


def dump_checked_json(content: dict[str, Any]) -> bytes:
    """JSON of `content` with a sha256 of itself as its last member."""
    body = json.dumps(content, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    digest = hashlib.sha256(body.encode()).hexdigest()
    return f'{body[:-1]},"sha256":"{digest}"}}\n'.encode()


def load_checked_json(path: Path) -> dict[str, Any]:
    """The content of a file written by `dump_checked_json`; DamageError where a bit of it is not what was written."""
    data = read_bytes(path, max_bytes=MAX_JSON_BYTES)
    body, mark, rest = data.rpartition(b',"sha256":"')
    if not mark or hashlib.sha256(body + b"}").hexdigest().encode() + b'"}\n' != rest:
        raise DamageError(f"{path} is damaged: its checksum does not hold")
    # The checksum holds, so this is text that some json.dumps wrote; a stranger's may still nest without end.
    try:
        return parse_object(body + b"}")
    except ValueError as error:
        raise DamageError(f"{path} is not JSON as this project writes it: {error}") from error


def parse_object(data: bytes) -> dict[str, Any]:
    """The JSON object that ASCII text stands for, by strict rules; ValueError where it is none."""
    try:
        content = json.loads(
            data.decode("ascii"),
            parse_float=_parse_finite,
            parse_constant=_raise_not_json,
            object_pairs_hook=_reject_duplicates,
        )
    except RecursionError as error:
        raise ValueError("it nests too deep") from error
    if not isinstance(content, dict):
        raise ValueError("it holds no JSON object")
    return content


def _parse_finite(literal: str) -> float:
    value = float(literal)
    return value if math.isfinite(value) else _raise_not_json(literal)


def _raise_not_json(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is not a number of JSON")


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return content
