"""Folders that keep compiled libraries: nobody else can write there, and each file is named by its own checksum.

What is loaded runs as this user, so a folder or a file that somebody else owns or can write is never taken.
"""

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import DamageError
from harness.io import read_bytes

PRIVATE = 0o700
DRAFT = ".draft-"
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
MAX_BYTES = 64 * 2**20
UNUSED_DAYS = 90  # after which a library is removed
DRAFT_SECONDS = 3600.0  # after which whoever wrote a draft is taken for dead; a compiler has two minutes
FAILURE_SECONDS = 600.0  # for which a build that failed is not tried again, by other workers above all
LOCK_TIMEOUT = 150.0  # seconds; longer than a compiler may take
POLL_SECONDS = 0.02
DAY = 86400.0  # seconds


def cache_folders() -> Iterator[Path]:
    """Where libraries may be kept, the best first: the cache of this user, then a folder among temporary files."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    with suppress(RuntimeError):  # no HOME, and no such user
        yield (given if given.is_absolute() else Path.home() / ".cache") / "harness" / "native"
    with suppress(FileNotFoundError):  # no folder for temporary files
        yield Path(tempfile.gettempdir()) / f"harness-native-{os.geteuid()}"


def prepare_folder(folder: Path) -> None:
    """Make a folder for this user alone; OSError where that fails, or it is another's or can be written by others."""
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    if missing:
        above = missing[-1].parent.stat()
        if above.st_uid != os.geteuid() and not above.st_mode & stat.S_ISVTX:
            # Under sudo, HOME may be that of somebody who could not use what root makes there.
            raise PermissionError(f"{missing[-1].parent} belongs to another user")
        for path in reversed(missing):
            path.mkdir(PRIVATE, exist_ok=True)
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode):
        raise NotADirectoryError(f"{folder} is not a folder")
    if info.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user")
    if info.st_mode & WRITABLE_BY_OTHERS:
        raise PermissionError(f"{folder} can be written by others (chmod go-w)")
    for parent in folder.resolve().parents:
        if (mode := parent.stat().st_mode) & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise PermissionError(f"{parent} can be written by others (chmod o-w)")


def find_library(folder: Path, name: str, *, is_private: bool = True) -> Path | None:
    """The whole library of that name in a folder, if there is one; `is_private`: it must be this user's alone."""
    for path in sorted(folder.glob(f"{name}.*.so")):
        try:
            info = path.lstat()
            if is_private and (info.st_uid != os.geteuid() or info.st_mode & WRITABLE_BY_OTHERS):
                continue
            if path.name == f"{name}.{_checksum(path)}.so":
                return path
        except (OSError, DamageError):
            continue  # gone meanwhile, or nothing that was written here: it is made anew
    return None


def store_library(folder: Path, name: str, draft: Path) -> Path:
    """Put a compiled library where `find_library` finds it, whole or not at all."""
    draft.chmod(PRIVATE)
    return draft.replace(folder / f"{name}.{_checksum(draft)}.so")


def _checksum(path: Path) -> str:
    return hashlib.sha256(read_bytes(path, max_bytes=MAX_BYTES)).hexdigest()[:32]


def mark_used(library: Path) -> None:
    """Note that a library is in use, so that it is kept."""
    with suppress(OSError):  # on a disk that is read-only by now
        if time.time() - library.stat().st_mtime > DAY:
            os.utime(library)


@contextmanager
def draft_folder(folder: Path) -> Iterator[Path]:
    """A folder in there for what a compiler writes, removed afterwards."""
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=folder))
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_unused(folder: Path) -> None:
    """Remove libraries that were not used for long, and what killed processes have left."""
    now = time.time()
    for path in folder.iterdir():
        with suppress(OSError):  # another process removes it, too
            age = now - path.lstat().st_mtime
            if path.name.startswith(DRAFT) and age > DRAFT_SECONDS:
                shutil.rmtree(path)
            elif age > UNUSED_DAYS * DAY:
                path.unlink()


@contextmanager
def lock(folder: Path, name: str, is_done: Callable[[], object]) -> Iterator[None]:
    """Let one process at a time build a library; wait for it until `is_done`.

    It saves double work and guards nothing: where it can't be had, the caller builds all the same. The system frees it
    when its holder dies.
    """
    descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_TIMEOUT
    try:
        while time.monotonic() < deadline and not is_done():
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(POLL_SECONDS)
            except OSError:  # a mount without locks
                break
            else:
                break
        yield
    finally:
        os.close(descriptor)


def note_failure(folder: Path, name: str, error: str) -> None:
    """Keep what went wrong, so that other workers need not wait for the same."""
    with suppress(OSError):
        (folder / f"{name}.error").write_text(error, "utf-8", errors="replace")


def recent_failure(folder: Path, name: str) -> str:
    """What went wrong when this library was built a short time ago, "" if nothing did."""
    path = folder / f"{name}.error"
    with suppress(OSError, DamageError):
        if 0 <= time.time() - path.lstat().st_mtime < FAILURE_SECONDS:
            return read_bytes(path, max_bytes=2**16).decode("utf-8", errors="replace")
    return ""
