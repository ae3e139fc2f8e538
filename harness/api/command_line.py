"""The command line, run in a process of its own that ends with this one."""

import json
import os
import signal
import subprocess
import sys
from typing import Any

from harness.errors import UsageError
from harness.execution.containment.safe_path import environment_with_package

PREFIX = "harness: "  # of the line that says what went wrong
PROGRAM = (
    "import sys; from harness.execution.containment.keeper import end_with_parent; "
    "end_with_parent(int(sys.argv.pop(1))); from harness.__main__ import run_and_exit; run_and_exit()"
)


def run_verb(arguments: list[str]) -> tuple[int, str]:
    """Run the command line; its exit code, and what it says went wrong. What else it says is printed here.

    An interrupt is passed on: the run saves, and ends. It ends with this process, however that ends.
    """
    # In a session of its own, so that a terminal's Ctrl-C reaches it through this process alone.
    with subprocess.Popen(
        _words(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(),
        start_new_session=True,
    ) as process:
        error = ""
        while True:
            try:
                for line in process.stdout or ():
                    if line.startswith(PREFIX):
                        error = line.removeprefix(PREFIX).strip()
                    else:
                        print(line, end="", flush=True)
                return process.wait(), error
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)


def read_verb(arguments: list[str]) -> dict[str, Any]:
    """What a verb prints as JSON; UsageError where it refuses."""
    ran = subprocess.run(
        _words(arguments), capture_output=True, text=True, env=_environment(), start_new_session=True, check=False
    )
    if ran.returncode:
        raise UsageError(ran.stderr.rpartition(PREFIX)[2].strip() or f"it ended with exit code {ran.returncode}")
    content: dict[str, Any] = json.loads(ran.stdout)
    return content


def _words(arguments: list[str]) -> list[str]:
    return [sys.executable, "-P", "-c", PROGRAM, str(os.getpid()), *arguments]


def _environment() -> dict[str, str]:
    return {**environment_with_package(os.environ), "PYTHONUNBUFFERED": "1"}
