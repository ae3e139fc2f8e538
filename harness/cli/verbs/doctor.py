"""`doctor`: what this machine can do, what is missing and its remedy."""

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.cli.console import print_findings, print_lines
from harness.cli.hints import command
from harness.ensemble.native.build import CACHE_REMEDY, SCALARS, SWITCH, is_switched_off, library_or_error
from harness.errors import BuildError
from harness.execution.cores import usable_cores
from harness.execution.drill.lines import drill_lines
from harness.execution.executors.scheduler import request
from harness.execution.messages import Finding, InspectRequest, InspectResult
from harness.execution.pool import pool_of
from harness.execution.stop_flag import stopping

ENOUGH_DISK = 2**30  # bytes
# What pyproject.toml requires, also where the package was copied and nothing says so.
REQUIRED_PACKAGES = (
    *("cloudpickle", "jaxtyping", "jinja2", "matplotlib", "numpy", "pandas", "pillow", "pyarrow", "rich"),
    *("scikit-learn", "scipy", "seaborn", "shtab", "threadpoolctl", "torch"),
)


def doctor(options: argparse.Namespace) -> int:
    """Print what this machine has, or what a drill finds; the exit code is 4 where trials can't be trained at all."""
    if options.drill:
        return print_lines(drill_lines(options.results, options.executor, options.drill_seed, options.drill_rounds))
    findings = [*system_findings(options.results), *_package_findings(), native_finding()]
    with stopping(None) as stop, pool_of(1) as pool:
        answer = request(pool, InspectRequest(), stop)
    if answer is None:
        return stop.exit_code
    assert isinstance(answer, InspectResult)
    findings += answer.findings
    print_findings(findings)
    problems = [name for name, _, remedy in findings if remedy]
    conclusion = f"problems: {', '.join(problems)}" if problems else "all is well"
    print(f"{conclusion}; try it with: {command('run', 'suites/circles', given={})}")
    return 0


def system_findings(results: Path) -> Iterator[Finding]:
    """Python, cores, disk, the results folder and a browser."""
    yield "python", sys.version.split()[0], "" if sys.version_info >= (3, 11) else "use Python 3.11 or later"
    yield "cores", str(usable_cores()), ""
    folder = next(path for path in [results.absolute(), *results.absolute().parents] if path.exists())
    free = shutil.disk_usage(folder).free
    room = f"{free / 2**30:.1f} GiB free for {results}"
    yield "disk", room, "" if free > ENOUGH_DISK else "make room, or give --results"
    if folder.is_dir() and os.access(folder, os.W_OK):
        yield "results", f"{results} can be written", ""
    else:
        yield "results", f"{folder} can't be written", "give --results"
    browsers = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    yield "browser", next(browsers, "no Chromium (only tests of the report's page need it)"), ""


def native_finding() -> Finding:
    """The native library, compiled now if it was not yet, or what is missing for it."""
    name = "native library"
    if is_switched_off():
        return name, f"switched off by {SWITCH}=0", ""
    with ThreadPoolExecutor() as threads:
        libraries = list(threads.map(library_or_error, SCALARS))
    for library in libraries:
        if isinstance(library, BuildError):
            found, _, remedy = str(library).rpartition("; ")
            return name, found, remedy
    loaded = [library for library in libraries if not isinstance(library, BuildError)]
    target, seconds = loaded[0].target, [library.seconds for library in loaded if library.seconds is not None]
    how = f"compiled in {max(seconds):.1f} s" if seconds else f"in {loaded[0].path.parent}"
    compiler = loaded[0].compiler or "part of the package"
    found = f"{compiler}, for {target.name} (vectors of {target.vector_bytes} bytes), {how}"
    refused = ", ".join(loaded[0].refused)
    return name, found, f"{refused}: {CACHE_REMEDY}" if refused else ""


def _package_findings() -> Iterator[Finding]:
    for name in REQUIRED_PACKAGES:
        try:
            yield name, version(name), ""
        except PackageNotFoundError:
            yield name, "missing", f"pip install -c constraints.txt {name}"
