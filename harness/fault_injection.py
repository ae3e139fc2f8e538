"""Faults on purpose: with HARNESS_FAULT=kill@write:37 a run is killed at its 37th write.

All processes of a run count together, in a file, so that a fault strikes once: the worker that replaces a killed one
counts on from there. The file says what a run has done, a letter for each operation; a count that is never reached
makes of it a record of the run. Where the variable is not set, an operation costs the test of a flag.
"""

import atexit
import errno
import multiprocessing
import os
import re
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError

VARIABLE = "HARNESS_FAULT"
FILE_VARIABLE = "HARNESS_FAULT_FILE"  # the file of the counts; a new one in the temporary folder unless given
LETTERS = {  # operation -> its letter in the file
    "create": "c",  # a file
    "write": "w",  # its content; a fault comes when half is written
    "sync": "s",  # a file or a folder
    "rename": "r",
    "mkdir": "d",
    "remove": "x",
    "read": "i",
    "step": "t",  # a piece of training between two looks at whether to stop: one step of a cohort, or many
    "message": "m",  # from a worker to the process that has started it
}
STORAGE = ("create", "write", "sync", "rename", "mkdir", "remove")
PLACES = {**{name: (name,) for name in LETTERS}, "storage": STORAGE}  # what a fault may name -> the operations
ERRORS = {"eio": errno.EIO, "enospc": errno.ENOSPC}
FAULT_KINDS = ("kill", *ERRORS, "sigterm", "oom", "nan", "hang", "bitflip")
PLACE_OF = {"nan": "step", "bitflip": "write"}  # kinds that make sense in one place alone
MESSAGE_KINDS = ("kill", "sigterm", "hang")  # no other is a thing that sending can meet
PATTERN = re.compile(r"(\w+)@(\w+):([1-9]\d{0,17})")


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, and when: at the `count`-th operation of these in a run."""

    kind: str
    place: str
    count: int


@dataclass(frozen=True, slots=True)
class _Armed:
    """A fault that this process looks out for, and the file of the counts, open to append."""

    fault: Fault
    descriptor: int


_armed: _Armed | None = None  # of this process: what a fault strikes is anywhere, and takes no argument for it


def parse_fault(text: str) -> Fault:
    """The fault that a text such as "kill@write:37" stands for; UsageError where it stands for none."""
    match = PATTERN.fullmatch(text)
    if match is None:
        raise UsageError(f"{VARIABLE} must be KIND@PLACE:COUNT, such as kill@write:37, got {text!r}")
    kind, place, count = match.groups()
    for name, value, names in (("kind", kind, FAULT_KINDS), ("place", place, tuple(PLACES))):
        if value not in names:
            raise UsageError(f"{VARIABLE} has the unknown {name} {value!r}; choose from: {', '.join(names)}")
    if PLACE_OF.get(kind, place) != place or (place == "message" and kind not in MESSAGE_KINDS):
        fitting = PLACE_OF.get(kind) or "step, or an operation on files"
        raise UsageError(f"{VARIABLE}: {kind} can't happen at a {place}; its place is {fitting}")
    return Fault(kind, place, int(count))


def arm() -> None:
    """Look out for the fault that HARNESS_FAULT names, in this process and those that it starts from now on."""
    global _armed
    if _armed is not None:
        os.close(_armed.descriptor)
        _armed = None
    text = os.environ.get(VARIABLE)
    if not text:
        return
    fault = parse_fault(text)
    if FILE_VARIABLE not in os.environ:
        descriptor, path = tempfile.mkstemp(prefix="harness-fault-")
        os.close(descriptor)
        atexit.register(Path(path).unlink, missing_ok=True)
        os.environ[FILE_VARIABLE] = path
    path = os.environ[FILE_VARIABLE]
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UsageError(f"{FILE_VARIABLE}: can't write {path}: {error.strerror}") from error
    _armed = _Armed(fault, descriptor)


def is_armed() -> bool:
    """Whether this process looks out for a fault."""
    return _armed is not None


def inject(operation: str, path: Path | None = None) -> str:
    """Count an operation that comes next, and let the fault strike if it is the one.

    What the caller itself must bring about is returned ("nan", "bitflip"), otherwise "".
    """
    if _armed is None or not _is_due(_armed, operation):
        return ""
    fault = _armed.fault
    where = "" if path is None else f" ({path})"
    os.write(2, f"harness: fault injected: {fault.kind} at {operation}{where}\n".encode("utf-8", "backslashreplace"))
    match fault.kind:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sigterm":
            parent = multiprocessing.parent_process()  # of a worker; it blocks the signal itself
            os.kill(os.getpid() if parent is None or parent.pid is None else parent.pid, signal.SIGTERM)
        case "oom":
            raise MemoryError("fault injected")
        case "hang":
            while True:
                time.sleep(3600)
        case "eio" | "enospc":
            code = ERRORS[fault.kind]
            raise OSError(code, os.strerror(code), None if path is None else str(path))
        case kind:
            return kind
    return ""


def _is_due(armed: _Armed, operation: str) -> bool:
    """Whether the operation is the one that the fault is for, after it was counted."""
    os.write(armed.descriptor, LETTERS[operation].encode())
    if operation not in PLACES[armed.fault.place]:
        return False
    # What is appended ends where this process's own letter does, whatever others append meanwhile.
    end = os.lseek(armed.descriptor, 0, os.SEEK_CUR)
    counts = os.pread(armed.descriptor, end, 0).decode("ascii")
    return count_operations(counts, armed.fault.place) == armed.fault.count


def count_operations(counts: str, place: str) -> int:
    """How many operations at a place the content of a file of counts tells of."""
    letters = {LETTERS[operation] for operation in PLACES[place]}
    return sum(letter in letters for letter in counts)


def flip_bit(data: bytes) -> bytes:
    """The data with a bit changed that lies in their middle."""
    flipped = bytearray(data)
    if flipped:
        flipped[len(flipped) // 2] ^= 1
    return bytes(flipped)
