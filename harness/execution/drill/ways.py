"""The ways in which the drill interrupts a run."""

import signal
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to interrupt a run: a signal at a random moment, or a fault at a random operation."""

    name: str
    sent: signal.Signals | None = None
    to_started: bool = False  # it goes to a process that the run has started, not to the run itself
    fault: str = ""  # KIND@PLACE of HARNESS_FAULT

    @property
    def kind(self) -> str:
        """The kind of its fault."""
        return self.fault.partition("@")[0]

    @property
    def place(self) -> str:
        """Where its fault strikes."""
        return self.fault.partition("@")[2]


SENT_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
FAULTS = (
    *("kill@storage", "kill@step", "kill@message"),
    *("eio@storage", "enospc@storage", "eio@read", "bitflip@write"),
    *("sigterm@storage", "sigterm@step"),
    *("oom@storage", "oom@step", "nan@step", "hang@step"),
)
WAYS = (
    *(Way(name=number.name, sent=number) for number in SENT_SIGNALS),
    *(
        [Way(name="SIGKILL of a process that it started", sent=signal.SIGKILL, to_started=True)]
        if sys.platform == "linux"
        else []
    ),
    *(Way(name=fault, fault=fault) for fault in FAULTS),
)
