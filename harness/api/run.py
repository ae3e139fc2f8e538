"""`harness.run`: a suite run from Python.

The run is that of the command line, in a process of its own: it can be killed and goes on where it was, loads no torch
here, starts its workers from a notebook, a thread or a script without a main guard alike, and leaves signals, threads
and the backend of matplotlib of this process as they are.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.api.results import Results, load
from harness.errors import EmptySelection, HarnessError, MachineError, UsageError
from harness.execution.stop_flag import INTERRUPTED, TEMPORARY
from harness.io import make_folder
from harness.spec.loader import find_suite
from harness.spec.suite import Suite
from harness.spec.suite_files.declared import SUFFIX, write_declared

PREFIX = "harness: "  # of the line that says what went wrong
ERRORS: Mapping[int, type[HarnessError]] = {2: UsageError, 3: EmptySelection, 4: MachineError}  # by exit code
ENDED = (0, 1, TEMPORARY)  # exit codes of a run that has results; 1 and 75 where some trials have none yet
PACKAGE = Path(__file__).parents[1]
PROGRAM = (
    "import sys; from harness.execution.containment.keeper import end_with_parent; "
    "end_with_parent(int(sys.argv.pop(1))); from harness.__main__ import run_and_exit; run_and_exit()"
)
Values = Any  # of an axis: one, or several


def run(
    suite: Suite | str | Path,
    *,
    name: str = "notebook",
    question: str = "",
    results: str | Path = "results",
    only: Mapping[str, Values] | None = None,
    workers: int | None = None,
    device: str = "auto",
    retry: Iterable[str] = (),
    fresh: bool = False,
    time_budget: str | None = None,
    progress: bool = True,
) -> Results:
    """Train what has no result yet, write the report, and return what was found.

    `suite` is the path of a suite file, the name of one that ships, or a `Suite` that was declared in this program; the
    latter is called `name`, asks `question`, and its results lie in that folder. `only` maps an axis to a value or a
    list of values; `workers` is the number of processes that train, one for each core unless given; `device`,
    `retry` (statuses), `fresh` and `time_budget` ("2h") are as on the command line; `progress=False` prints less.

    Raises UsageError or SuiteError for a wrong call or suite, EmptySelection where `only` selects nothing, MachineError
    for what this machine can't do, and KeyboardInterrupt where it is interrupted. All state is saved then, and where
    the time budget is used up: the same call goes on, and trials without a result are `interrupted` in the table.
    """
    folder = Path(results)
    path, name = (_written(suite, name, question, folder), name) if isinstance(suite, Suite) else _named(suite)
    words = ["run", str(path), "--results", str(folder), "--device", device]
    words += [f"--only={axis}={_listed(axis, values)}" for axis, values in (only or {}).items()]
    words += [] if workers is None else ["--workers", str(workers)]
    words += ["--retry", ",".join(retry)] if retry else []
    words += ["--fresh"] if fresh else []
    words += [] if time_budget is None else ["--time-budget", time_budget]
    words += ["--progress", "plain" if progress else "none"]
    code, error = _run(words)
    if code in ENDED:
        return load(folder / name)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    raise ERRORS.get(code, HarnessError)(error or f"the run ended with exit code {code}")


def _written(suite: Suite, name: str, question: str, folder: Path) -> Path:
    """The file of a suite that was declared in this program."""
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        raise UsageError(f"name must be letters, digits and underscores, such as my_norms, got {name!r}")
    make_folder(folder)
    path = folder / f"{name}{SUFFIX}"
    write_declared(suite, question or name.replace("_", " "), path)
    return path


def _named(suite: str | Path) -> tuple[str | Path, str]:
    """The suite as it is given, and its name; SuiteError where it is none."""
    if not isinstance(suite, str | Path):
        raise UsageError(f"suite must be a Suite or the path of a suite file, got {type(suite).__name__}")
    return suite, find_suite(Path(suite)).stem


def _listed(axis: str, values: Values) -> str:
    """Values as they are typed behind --only."""
    given = [values] if isinstance(values, str) or not isinstance(values, Iterable) else list(values)
    texts = [value if isinstance(value, str) else repr(value) for value in given]
    if not texts or any("," in text for text in texts):
        raise UsageError(f"only: {axis} needs a value or a list of values without commas, got {values!r}")
    return ",".join(texts)


def _run(arguments: list[str]) -> tuple[int, str]:
    """Run the command line; its exit code, and what it says went wrong. What else it says is printed here.

    An interrupt is passed on: the run saves, and ends. It ends with this process, however that ends.
    """
    words = [sys.executable, "-P", "-c", PROGRAM, str(os.getpid()), *arguments]
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), str(PACKAGE.parent)]))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    # In a session of its own, so that a terminal's Ctrl-C reaches it through this process alone.
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
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
