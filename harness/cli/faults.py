"""What no other place has dealt with: a limit of this machine, or a fault of ours. One line and a log, no traceback."""

import os
import tempfile
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from harness.cli.streams import print_error
from harness.errors import HarnessError, MachineError
from harness.execution.containment.machine_limits import machine_limit
from harness.execution.stop_flag import RunAborted

FAULT = 70  # EX_SOFTWARE of sysexits.h


def report_fault(error: BaseException) -> int:
    """Say in one line what went wrong; the exit code."""
    if isinstance(error, RunAborted | HarnessError):
        print_error(describe(error))
        return error.exit_code
    if (limit := machine_limit(error, describe(error))) is not None:
        print_error(limit)
        return MachineError.exit_code
    print_error(f"a fault of the harness: {describe(error)}; {_write_log(error)}")
    return FAULT


def describe(error: BaseException) -> str:
    """The error in one line; its own text may fail."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 (of an exception that somebody else has written)
        text = "(its text can't be made)"
    is_own = isinstance(error, RunAborted | HarnessError)
    return " ".join((text if is_own else f"{type(error).__name__}: {text}").split())[:500]


def _write_log(error: BaseException) -> str:
    """Write the traceback into a file; where it is."""
    name = f"harness-fault-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    with suppress(Exception):
        text = "".join(traceback.format_exception(error))
        for folder in (Path(tempfile.gettempdir()), Path.cwd()):
            with suppress(OSError):
                path = folder / name
                with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(text)
                return f"the traceback is in {path}; please report it"
    return "no log of it could be written; please report it"
