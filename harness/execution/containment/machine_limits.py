"""Errors that say what this machine lacks: no trial is to blame for them, nor is this project."""

import errno
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import MachineError, error_line

GONE = "it was there before: was something removed, or another put in its place, while it was in use?"
LIMITS = {  # errno -> what this machine lacks, and what to do
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENOMEM: "there is not enough memory (ulimit -v, or the limit of a container)",
    errno.EAGAIN: "no more processes or threads can be started; raise the limit (ulimit -u)",
    errno.ENOSPC: "a disk is full; make room",
    errno.EDQUOT: "the quota of a disk is used up; make room",
    errno.EROFS: "a file system can only be read",
    errno.EACCES: "a file may not be read or written",
    errno.EIO: "a disk can't be read or written",
    errno.ESTALE: "a network file system has lost a file",
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP), GONE),
}
BLAMELESS = {errno.EAGAIN, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.ESTALE}  # that no model causes


def machine_limit(error: BaseException, text: str) -> str | None:
    """What this machine lacks, where that is the reason of an error with this text; None where it is not."""
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] != "harness":
        return (
            f"the package {error.name!r} is not installed for {sys.executable}; install all with: pip install harness"
        )
    if isinstance(error, MemoryError):
        return LIMITS[errno.ENOMEM]
    if isinstance(error, OSError) and error.errno in LIMITS:
        name = f"{error.filename}: " if error.filename is not None else ""
        return f"{name}{error.strerror}: {LIMITS[error.errno]}"
    if "can't start new thread" in text:
        return LIMITS[errno.EAGAIN]
    if isinstance(error, ImportError) and ("Cannot allocate memory" in text or "failed to map segment" in text):
        return LIMITS[errno.ENOMEM]
    if isinstance(error, ImportError) and "Too many open files" in text:
        return LIMITS[errno.EMFILE]
    return None


def require_address_space(mebibytes: int) -> None:
    """Raise MachineError where the limit of this process's address space (RLIMIT_AS, `ulimit -v`) is lower.

    With less, libraries fail while they are loaded, each in its own way: they abort, hang, or name another cause.
    """
    soft_limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if soft_limit != resource.RLIM_INFINITY and soft_limit < mebibytes * 2**20:
        raise MachineError(
            f"there is not enough memory: the limit of address space (ulimit -v) is {soft_limit // 2**20} MiB, "
            f"and {mebibytes} are needed to load what this verb works with; raise it"
        )


def is_blameless(error: BaseException) -> bool:
    """Whether a trial that raised this error is not to blame: the same would meet any other."""
    is_thread = isinstance(error, RuntimeError) and "can't start new thread" in error_line(error)
    return is_thread or (isinstance(error, OSError) and error.errno in BLAMELESS)


@contextmanager
def process_start_errors() -> Iterator[None]:
    """Say as a MachineError why no process can be started: limits of processes, or no folder for its socket."""
    try:
        # tempfile takes too many open files for a lack of folders.
        os.close(os.open(os.devnull, os.O_RDONLY))
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise MachineError("there is no temporary folder that can be written; set TMPDIR to one that can") from error
    try:
        yield
    except (OSError, EOFError) as error:
        # The server that forks workers ends where it can't, and all that is seen of it is the end of a pipe.
        is_limit = isinstance(error, EOFError) or error.errno == errno.EAGAIN
        remedy = "raise the limit of processes (ulimit -u, --pids-limit of a container)"
        reason = remedy if is_limit else machine_limit(error, str(error)) or str(error)
        raise MachineError(f"can't start a worker process: {reason}") from error
