"""`doctor`: what this machine can do, what is missing and its remedy."""

import argparse
import os
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from rich.table import Table

from harness.cli.console import Console
from harness.execution.messages import InspectRequest, InspectResult
from harness.execution.pool import pool_of
from harness.execution.scheduler import request
from harness.execution.stop_flag import stopping

Finding = tuple[str, str, str]  # what, what was found, remedy where something is missing
ENOUGH_DISK = 2**30  # bytes


def doctor(options: argparse.Namespace) -> int:
    """Print what was found; the exit code is 4 where trials can't be trained at all."""
    findings = [*_here(options.results), *_packages()]
    with stopping(None) as stop, pool_of(1) as pool:
        answer = request(pool, InspectRequest(), stop)
    if answer is None:
        return stop.exit_code
    assert isinstance(answer, InspectResult)
    findings += answer.findings
    table = Table("what", "found", "remedy")
    for finding in findings:
        table.add_row(*finding)
    Console().print(table)
    missing = [what for what, _, remedy in findings if remedy]
    said = f"to look at: {', '.join(missing)}" if missing else "all is well"
    print(f"{said}; try it with: python -m harness run suites/circles")
    return 0


def _here(results: Path) -> Iterator[Finding]:
    yield "python", sys.version.split()[0], "" if sys.version_info >= (3, 11) else "use Python 3.11 or later"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield "cores", str(cores), ""
    folder = next(path for path in [results.absolute(), *results.absolute().parents] if path.exists())
    free = shutil.disk_usage(folder).free
    yield (
        "disk",
        f"{free / 2**30:.1f} GiB free for {results}",
        "" if free > ENOUGH_DISK else "make room, or give --results",
    )
    writable = folder.is_dir() and os.access(folder, os.W_OK)
    yield (
        "results",
        f"{results} can be written" if writable else f"{folder} can't be written",
        "" if writable else "give --results",
    )
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    yield "browser", found or "no Chromium (only tests of the report's page need it)", ""


def _packages() -> Iterator[Finding]:
    for requirement in requires("harness") or []:
        if "extra ==" in requirement:
            continue
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        try:
            yield name, version(name), ""
        except PackageNotFoundError:
            yield name, "missing", f"pip install -c constraints.txt {name}"
