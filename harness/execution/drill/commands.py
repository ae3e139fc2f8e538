"""Commands of the harness as processes of their own, as a user starts them, and what is left of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.execution.containment.keeper import end_with_parent
from harness.fault_injection import FILE_VARIABLE, VARIABLE

PROGRAM = (sys.executable, "-m", "harness")
LEFT_GRACE = 10.0  # seconds after which nothing of a run may be left
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended; a negative exit code is the signal that killed it."""

    exit_code: int
    errors: str  # what it, and what it started, wrote to standard error

    @property
    def last_line(self) -> str:
        """The last that it wrote to standard error."""
        return (self.errors.strip().splitlines() or ["it says nothing"])[-1]


@dataclass(frozen=True, slots=True)
class Command:
    """A command that runs in a session of its own, so that all it has started can be found."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def wait(self, seconds: float) -> Ended | None:
        """How it ended; None where it runs on after so many seconds."""
        try:
            exit_code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        return Ended(exit_code, self.log.read_text("utf-8", errors="replace"))

    def kill(self) -> None:
        """Kill it; what it has started is to end by itself."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()

    def started(self) -> list[int]:
        """The processes of its session that live, it aside; none where the system has no /proc."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has just ended
                fields = (folder / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid != int(folder.name) and fields[0] != "Z":
                    found.append(int(folder.name))
        return sorted(found)

    def left(self) -> list[str]:
        """What of it is still there some seconds after its end: numbers of processes, and what they run."""
        deadline = time.monotonic() + LEFT_GRACE
        while (found := self.started()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return [f"{pid} {_words_of(pid)}" for pid in found]


def _words_of(pid: int) -> str:
    """What a process runs; empty where it has just ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return ""


@contextmanager
def started(words: list[str], log: Path, *, fault: str = "", counts: Path | None = None) -> Iterator[Command]:
    """The command `python -m harness` with these words and this fault; killed where the block ends before it does."""
    environment = {name: value for name, value in os.environ.items() if name not in (VARIABLE, FILE_VARIABLE)}
    if fault:
        environment |= {VARIABLE: fault, FILE_VARIABLE: str(counts)}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*PROGRAM, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            env=environment,
            start_new_session=True,
            preexec_fn=partial(end_with_parent, os.getpid()),
        )
    command = Command(process, log)
    try:
        yield command
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
