"""What no other place has dealt with: a limit of this machine, or a fault of ours. One line and a log, no traceback."""

import errno
import os
import sys
import tempfile
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from harness.cli.streams import print_error
from harness.errors import HarnessError, MachineError
from harness.execution.stop_flag import RunAborted

FAULT = 70  # EX_SOFTWARE of sysexits.h
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
}


def report_fault(error: BaseException) -> int:
    """Say in one line what went wrong; the exit code."""
    if isinstance(error, RunAborted | HarnessError):
        print_error(describe(error))
        return error.exit_code
    if (limit := _limit(error)) is not None:
        print_error(limit)
        return MachineError.exit_code
    print_error(f"a fault of the harness: {describe(error)}; {_write_log(error)}")
    return FAULT


def describe(error: BaseException) -> str:
    """The error in one line; its own text may fail."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 (of an exception that somebody else has written)
        text = "(its text can't be made)"
    is_own = isinstance(error, RunAborted | HarnessError)
    return " ".join((text if is_own else f"{type(error).__name__}: {text}").split())[:500]


def _limit(error: BaseException) -> str | None:
    """What this machine lacks, where that is the reason; None where it is a fault."""
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] != "harness":
        return (
            f"the package {error.name!r} is not installed for {sys.executable}; install all with: pip install harness"
        )
    if isinstance(error, MemoryError):
        return LIMITS[errno.ENOMEM]
    if isinstance(error, OSError) and error.errno in LIMITS:
        name = f"{error.filename}: " if error.filename is not None else ""
        return f"{name}{error.strerror}: {LIMITS[error.errno]}"
    text = describe(error).lower()
    if "can't start new thread" in text:
        return LIMITS[errno.EAGAIN]
    if isinstance(error, ImportError) and ("cannot allocate memory" in text or "failed to map segment" in text):
        return LIMITS[errno.ENOMEM]
    if isinstance(error, ImportError) and "too many open files" in text:
        return LIMITS[errno.EMFILE]
    return None


def _write_log(error: BaseException) -> str:
    """Write the traceback into a file; where it is."""
    name = f"harness-fault-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    with suppress(Exception):
        text = "".join(traceback.format_exception(error))
        for folder in (Path(tempfile.gettempdir()), Path.cwd()):
            with suppress(OSError):
                path = folder / name
                with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(text)
                return f"the traceback is in {path}; please report it"
    return "no log of it could be written; please report it"
