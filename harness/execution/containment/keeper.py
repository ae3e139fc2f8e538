"""A process that keeps another one: when either that one or their launcher is gone, whatever they started is ended.

A model may start processes, fork, or block in a call that no thread of Python can interrupt. A keeper runs no code of
a model: it waits, passes signals on, adopts the orphans of what it keeps, and ends them all. Linux alone can do that;
elsewhere nothing is kept.
"""

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

CAN_KEEP = sys.platform == "linux"
END = signal.SIGRTMIN if CAN_KEEP else signal.SIGKILL  # asks a keeper to end all that it keeps, and itself
FORWARDED = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}
HEARD = {END, signal.SIGCHLD, signal.SIGCONT, *FORWARDED}
SET_PARENT_DEATH_SIGNAL, SET_CHILD_SUBREAPER = 1, 36  # of Linux's prctl
END_GRACE = 5.0  # seconds that a keeper has to end what it keeps
POLL_SECONDS = 1.0  # between two looks at the child and the parent, should a signal be lost


def keep() -> None:
    """Return in a child of this process, which stays behind as its keeper, ends as the child does, and returns never.

    Call it while this process has a single thread, and before it loads what is large.
    """
    if not CAN_KEEP:
        return
    parent = os.getppid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    _prctl(SET_CHILD_SUBREAPER, 1)
    _prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGCONT)  # which also wakes a keeper that was suspended
    keeper = os.getpid()
    child = os.fork()
    if child:
        _keep(child, parent)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    end_with_parent(keeper)


def end_with_parent(parent: int) -> None:
    """Let the system kill this process when its parent is gone, however that went; Linux alone can."""
    if CAN_KEEP:
        _prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)


def end(pid: int) -> None:
    """Ask a keeper to end all that it keeps; it is woken where it was suspended."""
    with suppress(ProcessLookupError):
        os.kill(pid, END)
        if CAN_KEEP:
            os.kill(pid, signal.SIGCONT)


def _keep(child: int, parent: int) -> NoReturn:
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # pipes end with the child, not with its keeper
    status = None
    while status is None and os.getppid() == parent:
        received = signal.sigtimedwait(HEARD, POLL_SECONDS)
        if received is not None and received.si_signo == END:
            break
        # What a terminal sends, it sends to all processes itself.
        if received is not None and received.si_signo in FORWARDED and received.si_code <= 0:
            os.kill(child, received.si_signo)
        status = _reap(child)
    _end_children()
    _exit_as(status)


def _reap(child: int) -> int | None:
    """The status that the child has ended with, if it has; orphans that have ended are gone for good."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return signal.SIGKILL
        if pid in (0, child):
            return status if pid else None


def _end_children() -> None:
    """Kill all children, and theirs: those become children of this process when their parents end."""
    with suppress(ChildProcessError):
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                for child in _children():
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(child, signal.SIGKILL)
                os.waitpid(-1, 0)


def _children() -> list[int]:
    own, children = os.getpid(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            parent = (folder / "stat").read_text("ascii", "replace").rpartition(")")[2].split()[1]
            if int(parent) == own:
                children.append(int(folder.name))
    return children


def _exit_as(status: int | None) -> NoReturn:
    """End as the child did; by SIGKILL where it was ended."""
    number = signal.SIGKILL if status is None else os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    if number is None:
        os._exit(os.waitstatus_to_exitcode(status or 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # SIGKILL has no other disposition
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


if __name__ == "__main__":  # its arguments are the parent's process id, and the command to keep
    end_with_parent(int(sys.argv[1]))
    keep()
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 (the parent's own command)
