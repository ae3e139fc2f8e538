"""Figures turned into files, several at a time: that takes most of the time of a report.

A process is forked for each figure, so that nothing needs to be loaded or sent but the bytes of the files. They are the
same as this process would make, and what a process fails at is left to this one.
"""

import gc
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType

import numpy as np
from matplotlib.backends import backend_agg, backend_pdf, backend_svg  # noqa: F401 (loaded once, not in each process)

from harness.reporting.figures.frame import ReportFigure

MAX_PROCESSES = 8
ORPHAN_POLL_SECONDS = 0.5  # between two looks at whether the process that waits is still there
SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1}

Printing = dict[Connection, tuple[ReportFigure, BaseProcess]]  # what is under way, by the pipes that files come from


@np.errstate(over="ignore", invalid="ignore")  # a loss on its way to infinity may be as large as numbers get
def draw_and_print(figures: Iterable[ReportFigure | None]) -> tuple[list[ReportFigure | None], dict[str, bytes]]:
    """The figures in their order, and their files by name; while a figure is drawn, earlier ones are printed."""
    at_once, printing = min(_cores(), MAX_PROCESSES), Printing()
    drawn: list[ReportFigure | None] = []
    files: dict[str, bytes] = {}
    try:
        for figure in figures:
            drawn.append(figure)
            if figure is None:
                continue
            files |= _finished(printing, 0 if len(printing) < at_once else None)
            if at_once == 1 or not _start(figure, printing):
                files |= figure.files()
        while printing:
            files |= _finished(printing, None)
    finally:
        for _, process in printing.values():
            process.kill()
            process.join()
    return drawn, files


def _cores() -> int:
    """How many processes may print; one where a process with threads or with a window system can't be forked safely."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


def _start(figure: ReportFigure, printing: Printing) -> bool:
    """Print a figure in a process of its own; false where none can be started."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_print, args=(figure, theirs), daemon=True)
    try:
        with _blocked_signals(), warnings.catch_warnings():
            # Python warns of threads. Those of pyarrow and of BLAS are idle, and what prints needs neither.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
    except OSError:  # too many processes, or no memory for another
        ours.close()
        return False
    finally:
        theirs.close()
    printing[ours] = figure, process
    return True


def _print(figure: ReportFigure, pipe: Connection) -> None:
    gc.disable()  # it would go through all that the other process holds, and copy it
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    _end_when_orphaned()
    try:
        files = figure.files()
    except Exception:  # noqa: BLE001 (the process that waits will raise it, where it can be seen)
        return
    try:
        pipe.send(files)
    except BrokenPipeError:  # that process is gone
        return


def _end_when_orphaned() -> None:
    """End this process soon after the one that waits for it was killed: nobody reads what it prints."""
    parent = multiprocessing.parent_process()

    def look(number: int, frame: FrameType | None) -> None:
        del number, frame
        if parent is not None and os.getppid() != parent.pid:
            os._exit(1)

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, ORPHAN_POLL_SECONDS, ORPHAN_POLL_SECONDS)


def _finished(printing: Printing, timeout: float | None) -> dict[str, bytes]:
    """The files of figures that have been printed; waits for the first so many seconds, None: as long as it takes."""
    files: dict[str, bytes] = {}
    for pipe in wait(list(printing), timeout):
        assert isinstance(pipe, Connection)
        figure, process = printing[pipe]
        try:
            files |= pipe.recv()
        except EOFError:  # it failed, or was killed
            files |= figure.files()
        pipe.close()
        process.join()
        del printing[pipe]
    return files


@contextmanager
def _blocked_signals() -> Iterator[None]:
    """Let no signal reach the new process while it has the handlers of this one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
