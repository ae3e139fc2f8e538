"""The processes of this machine, as tests look for those that a run has left."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def marked(text: str) -> dict[int, str]:
    """The processes that live and have this text in their variables or command: state by process id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            told = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it has just ended
        if text.encode() in told and state != "Z":
            found[int(folder.name)] = state
    return found


def wait_for(condition: Callable[[], T], seconds: float = 120.0) -> T:
    """What the condition comes to when it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)
    return found
