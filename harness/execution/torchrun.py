"""Ranks on this machine: started by torch's elastic launcher, one launch for many trials, gone when this process is.

The supervisor is connected to the first rank by a socket in a folder that is its user's alone.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, NamedTuple

from harness.errors import MachineError
from harness.execution.containment.keeper import CAN_KEEP, END_GRACE, end
from harness.execution.messages import Failed, UserErrorReply
from harness.storage.records import NO_RESULT

LAUNCHES = 3  # before a launch that fails counts as something that this machine can't do
LAUNCH_WAIT = 300.0  # seconds for a launch on a busy machine
SHUTDOWN = 3  # seconds that the other ranks have to end when one has died
SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"  # that the launcher passes on: ranks that it forgets would train on
EXIT_MARKER = "harness: this rank ends: "  # in the log, before what went wrong on a rank
RANKS = [sys.executable, "-m", "harness.execution.rank_worker"]
KEEPER = [sys.executable, "-m", "harness.execution.containment.keeper"]
TORCHRUN_VARIABLES = ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE")
LOOPBACK = ("lo", "lo0")  # on Linux, on macOS


class Launched:
    """A launcher and its ranks, with the methods of a worker process."""

    def __init__(self, command: list[str], log: IO[bytes]) -> None:
        self._log, self._final_tail = log, ""
        self._process = subprocess.Popen(
            [*KEEPER, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which decides
            env=launch_environment(os.environ),
        )
        self._pidfd = os.fdopen(os.pidfd_open(self._process.pid), "rb", buffering=0) if CAN_KEEP else None

    @property
    def sentinel(self) -> IO[bytes] | None:
        """Readable when the process has ended, where the system has such a thing."""
        return self._pidfd

    @property
    def pid(self) -> int:
        """The process that keeps the launcher."""
        return self._process.pid

    @property
    def exitcode(self) -> int | None:
        """How the launcher ended, None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """End the launcher, all ranks, and what they have started."""
        if self._process.poll() is None:
            end(self._process.pid)
            self.join(END_GRACE)
            self._process.kill()
            self._process.wait()
        if self._pidfd is not None:
            self._pidfd.close()
        if not self._log.closed:
            self._final_tail = self._read()
            self._log.close()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of the launcher, or until the time is up."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def cause(self) -> Failed | UserErrorReply:
        """Why the ranks ended, as far as they or their launcher could tell."""
        tail = self.log_tail()
        if marked := re.search(f"{EXIT_MARKER}(.*)", tail):
            reason, error = json.loads(marked[1])
            if reason in NO_RESULT:
                return Failed(outcome=reason, error=error, details=tail, is_retryable=is_secondary_failure(error))
            return UserErrorReply(error_type=reason, error=error)
        signals = re.findall(r"Signal \d+ \((SIG\w+)\) received by PID", tail)
        signals.sort(key=lambda name: name == "SIGTERM")  # the launcher sends SIGTERM to those that are left
        error = f"a rank was killed by {signals[0]}" if signals else "a rank ended"
        return Failed(outcome="crashed", error=error, details=tail, is_retryable=True)

    def log_tail(self) -> str:
        """The last that launcher and ranks wrote."""
        return self._final_tail if self._log.closed else self._read()

    def _read(self) -> str:
        """The last 10,000 bytes, after the line on why a rank ended: much may be written about it later."""
        self._log.seek(0)
        marked = [line for line in self._log if EXIT_MARKER.encode() in line][:1]
        self._log.seek(max(0, self._log.tell() - 10_000))
        return b"".join([*marked, self._log.read()]).decode("utf-8", "replace")


def is_secondary_failure(error: str) -> bool:
    """Whether an error only says that another rank was lost."""
    return "connection" in error.lower()


class TorchrunProcess(NamedTuple):
    """One of the processes that torchrun has started."""

    rank: int
    world_size: int


def torchrun_process() -> TorchrunProcess | None:
    """Which of torchrun's processes this is; None where it was started plainly.

    torchrun sets all of these variables. Where some are missing, the others are left over in the shell.
    """
    if not all(name in os.environ for name in TORCHRUN_VARIABLES):
        return None
    numbers = {name: os.environ[name] for name in ("RANK", "WORLD_SIZE")}
    for name, value in numbers.items():
        if not value.isdecimal():
            raise MachineError(f"the variable {name} is {value!r}, and torchrun sets it to a number; unset it")
    return TorchrunProcess(rank=int(numbers["RANK"]), world_size=int(numbers["WORLD_SIZE"]))


def is_later_rank() -> bool:
    """Whether this is one of torchrun's processes, and not the first."""
    process = torchrun_process()
    return process is not None and process.rank > 0


def launch_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of a launcher on this machine.

    PET_* are options of torchrun, which a job of a cluster may have set for another launch. Ranks of one machine meet
    on its loopback interface: the name of this machine need not resolve, nor another interface exist.
    """
    kept = {name: value for name, value in environment.items() if not name.startswith("PET_")}
    kept["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    if torchrun_process() is None:
        interfaces = [name for _, name in socket.if_nameindex()]
        kept.update([("GLOO_SOCKET_IFNAME", name) for name in LOOPBACK if name in interfaces])
    return kept


def launch(size: int, stop: Callable[[], bool]) -> tuple[Launched, Connection]:
    """So many ranks, ready for jobs, and a pipe to the first one; MachineError where they can't be started.

    Where the run is stopped before they are ready, the pipe is closed.
    """
    with tempfile.TemporaryDirectory(prefix="harness-") as folder, socket.socket(socket.AF_UNIX) as listening:
        address = str(Path(folder) / "ranks")
        listening.bind(address)
        listening.listen()
        listening.settimeout(0.2)
        for _ in range(LAUNCHES if torchrun_process() is None else 1):
            launched = Launched(_command(size, address), tempfile.TemporaryFile())  # noqa: SIM115 (as long as it lives)
            pipe = None
            try:
                pipe = _accept(listening, launched, stop)
            finally:
                if pipe is None:
                    launched.kill()
            if pipe is not None:
                return launched, pipe
    last_line = (launched.log_tail().strip().splitlines() or ["the log is empty"])[-1]
    raise MachineError(f"{size} ranks could not be started on this machine: {last_line[:300]}")


def _command(size: int, address: str) -> list[str]:
    if torchrun_process() is not None:  # the other ranks are there already; the new process is the first one
        return [*RANKS, address]
    options = [
        "--standalone",
        "--local-addr=127.0.0.1",
        f"--nproc-per-node={size}",
        "--max-restarts=0",
        f"--shutdown-timeout={SHUTDOWN}",
    ]
    return [*RANKS, "launch", *options, f"--signals-to-handle={SIGNALS}", *RANKS[1:], address]


def _accept(listening: socket.socket, launched: Launched, stop: Callable[[], bool]) -> Connection | None:
    """The pipe to the first rank; None where the launch failed, a closed one where the run is stopped."""
    deadline = time.monotonic() + LAUNCH_WAIT
    while launched.exitcode is None and time.monotonic() < deadline:
        if stop():
            launched.kill()
            ours, theirs = socket.socketpair()
            theirs.close()
            return Connection(ours.detach())
        try:
            accepted, _ = listening.accept()
        except TimeoutError:
            continue
        return Connection(accepted.detach())
    return None
