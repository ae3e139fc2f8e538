"""Who may work in a results folder: one run alone, or any number of them that have joined each other."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import BusyError, MachineError
from harness.io import make_folder
from harness.storage.records import ResultsDir
from harness.storage.running import WorkingRun, find_runs

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # what a mount says that has none


@contextmanager
def lock_results(results_dir: ResultsDir, *, is_shared: bool = False) -> Iterator[int]:
    """Hold the results folder for one run, or shared with others; a descriptor of the lock.

    The kernel lets go of it when the process is gone, however it went. A mount between hosts may have none, or locks
    that one host alone sees, so a run that is to be alone looks for signs of life of others, too.
    """
    descriptor = _open(results_dir)
    try:
        is_locked = _lock(descriptor, results_dir, is_shared=is_shared)
        # A lock that is shared tells that no run holds it alone.
        if not (is_shared and is_locked):
            others = [run for run in find_runs(results_dir) if run.owner.is_joined != is_shared]
            if others:
                raise _busy(results_dir, others)
        yield descriptor
    finally:
        os.close(descriptor)


def share_lock(descriptor: int, results_dir: ResultsDir) -> None:
    """Let others join from now on; for an instant the lock may be anybody's."""
    _lock(descriptor, results_dir, is_shared=True)


def _open(results_dir: ResultsDir) -> int:
    path = results_dir.root / ".lock"
    try:
        make_folder(results_dir.root)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP and path.is_symlink():
            raise MachineError(f"can't lock {path}: it is a link; delete it, or choose another --results") from error
        raise MachineError(
            f"can't write results to {results_dir.root}: {error.strerror}; choose another --results"
        ) from error


def _lock(descriptor: int, results_dir: ResultsDir, *, is_shared: bool) -> bool:
    """Lock the folder; false where it has no locks, which those that share it need not."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        return True
    except BlockingIOError as error:
        raise _busy(results_dir, find_runs(results_dir)) from error
    except OSError as error:
        if is_shared and error.errno in NO_LOCKS:
            return False
        raise MachineError(
            f"can't lock {results_dir.root}: {error.strerror} (errno {error.errno}); choose another --results"
        ) from error


def _busy(results_dir: ResultsDir, runs: list[WorkingRun]) -> BusyError:
    """Who is at work, and what to do about it."""
    who = f" ({runs[0]}{f' and {len(runs) - 1} more' if runs[1:] else ''})" if runs else ""
    can_join = any(run.owner.is_joined for run in runs)
    remedy = "wait for it, work beside it with --join alone" if can_join else "wait for it"
    return BusyError(f"another run is at work in {results_dir.root}{who}; {remedy}, or choose another --results")
