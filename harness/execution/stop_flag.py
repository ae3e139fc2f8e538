"""How a run is stopped: by a signal, by Ctrl-C, or because its time is up."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from harness.errors import RunAborted
from harness.execution.pool import TERM_SIGNALS

TEMPORARY, INTERRUPTED = 75, 130  # exit codes: EX_TEMPFAIL of sysexits.h, and the shell's for Ctrl-C


def abort(number: int, _: FrameType | None) -> None:
    """A handler of signals for what saves nothing on its way: end it at once."""
    interrupt = number == signal.SIGINT
    reason = "stopped by Ctrl-C" if interrupt else f"stopped by {signal.Signals(number).name}"
    raise RunAborted(f"{reason}; the same command goes on", INTERRUPTED if interrupt else TEMPORARY)


class StopFlag:
    """Whether to stop, why, and with which exit code."""

    def __init__(self, budget: float | None) -> None:
        self._deadline = None if budget is None else time.monotonic() + budget
        self.reason = ""
        self.exit_code = 0
        self.is_immediate = False  # there are no workers to end: the next signal may end the run where it is
        self._impatient = False

    def __call__(self) -> bool:
        """Whether the run should save and end; RunAborted where it should not even save."""
        if self._impatient:
            raise self._aborted()
        if not self.reason and self._deadline is not None and time.monotonic() > self._deadline:
            self.reason, self.exit_code = "the time budget is used up", TEMPORARY
        return bool(self.reason)

    def on_signal(self, number: int, _: FrameType | None) -> None:
        """Take a signal: the first asks for saving, a second Ctrl-C for an end.

        Where there are workers, that end waits for the next call of this flag: an exception raised in the handler could
        come while workers are being ended, and this process would wait for those that were not told to stop.
        """
        interrupt = number == signal.SIGINT
        self._impatient = self._impatient or (interrupt and self.exit_code == INTERRUPTED)
        if not self.reason or interrupt:
            self.reason = "stopped by Ctrl-C" if interrupt else f"stopped by {signal.Signals(number).name}"
            self.exit_code = INTERRUPTED if interrupt else TEMPORARY
        if self.is_immediate:
            raise self._aborted()

    def _aborted(self) -> RunAborted:
        return RunAborted(f"{self.reason}; the same command goes on from what was saved", self.exit_code)


@contextmanager
def stopping(budget: float | None) -> Iterator[StopFlag]:
    """Listen for signals, and watch the clock, for as long as a run lasts.

    A signal that is ignored when the run starts stays ignored: nohup does that to the hang-up of a session that ends.
    In a thread that is not the first, no signal arrives: it is left to the program that has started the thread.
    """
    flag = StopFlag(budget)
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    numbers = [number for number in TERM_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, flag.on_signal) for number in (signal.SIGINT, *numbers)}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
