"""What no other place has dealt with: a limit of this machine, or a fault of ours. One line and a log, no traceback."""

import os
import tempfile
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from harness.cli.streams import print_error
from harness.errors import FAULT, MAX_ERROR_LINE, HarnessError, MachineError, RunAborted, error_line
from harness.execution.containment.machine_limits import machine_limit
from harness.text import LINES, printable


def report_fault(error: BaseException) -> int:
    """Say in one line what went wrong; the exit code."""
    if isinstance(error, RunAborted | HarnessError):
        print_error(" ".join(str(error).split())[:MAX_ERROR_LINE])
        return error.exit_code
    line = error_line(error)
    if (limit := machine_limit(error, line)) is not None:
        print_error(limit)
        return MachineError.exit_code
    print_error(f"a fault of the harness: {line}; {_write_log(error)}")
    return FAULT


def _write_log(error: BaseException) -> str:
    """Write the traceback into a file; where it is."""
    name = f"harness-fault-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    with suppress(Exception):
        text = "".join(traceback.format_exception(error))
        for folder in (Path(tempfile.gettempdir()), Path.cwd()):
            with suppress(OSError):
                path = folder / name
                with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(printable(text, keep=LINES))
                return f"the traceback is in {path}; please report it"
    return "no log of it could be written; please report it"
