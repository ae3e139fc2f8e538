"""`harness.run`: a suite run from Python.

The run is that of the command line, in a process of its own: it can be killed and goes on where it was, loads no torch
here, starts its workers from a notebook, a thread or a script without a main guard alike, and leaves signals, threads
and the backend of matplotlib of this process as they are.
"""

import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from harness.api.command_line import read_verb, run_verb
from harness.api.results import Results, load
from harness.errors import EmptySelection, HarnessError, MachineError, UsageError
from harness.execution.stop_flag import INTERRUPTED, TEMPORARY
from harness.execution.submission import SUBMITTERS
from harness.io import make_folder
from harness.spec.loader import find_suite
from harness.spec.suite import Suite
from harness.spec.suite_files.declared import SUFFIX, write_declared
from harness.storage.records import ResultsDir
from harness.storage.running import UNFINISHED

ERRORS: Mapping[int, type[HarnessError]] = {2: UsageError, 3: EmptySelection, 4: MachineError}  # by exit code
ENDED = (0, 1, TEMPORARY)  # exit codes of a run that has results; 1 and 75 where some trials have none yet
LOOK_EVERY = 5  # seconds, at what workers on a cluster have done
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
    executor: Literal["local", "in-process", "slurm", "dask"] = "local",
    executor_options: str | Path | None = None,
    scheduler: str | None = None,
    retry: str | Iterable[str] = (),
    fresh: bool = False,
    time_budget: str | None = None,
    recheck: int | str | None = None,
    until_decided: bool = False,
    max_seeds: int | None = None,
    progress: bool = True,
) -> Results:
    """Train what has no result yet, write the report, and return what was found.

    `suite` is the path of a suite file, the name of one that ships, or a `Suite` that was declared in this program; the
    latter is called `name`, asks `question`, and its results lie in that folder. `only` maps an axis to a value or a
    list of values; `workers` is the number of processes that train, one for each core unless given; `device`,
    `executor`, `executor_options` (a TOML file), `scheduler`, `retry` (statuses), `fresh` and `time_budget` ("2h") are
    as on the command line; `progress=False` prints less. `recheck` is how many of the results to train again, a number
    or a share such as "2%"; whether they came out the same stands in `Results.rechecked` and in the report.

    With `until_decided=True` it looks at the verdicts, adds seeds where a claim has no word, and looks again, up to
    `max_seeds`, 40 unless given; the suite is a whole one with seed=range(n), and the executor one that trains here.

    With the executors "slurm" and "dask" it queues workers and returns when all trials have ended; an interrupt ends
    the waiting, and the workers go on.

    Raises UsageError or SuiteError for a wrong call or suite, EmptySelection where `only` selects nothing, MachineError
    for what this machine can't do, and KeyboardInterrupt where it is interrupted. All state is saved then, and where
    the time budget is used up: the same call goes on, and trials without a result are `interrupted` in the table.
    """
    folder = Path(results)
    path, name = (_written(suite, name, question, folder), name) if isinstance(suite, Suite) else _named(suite)
    selected = [str(path), "--results", str(folder)]
    selected += [f"--only={axis}={_listed(axis, values)}" for axis, values in (only or {}).items()]
    engine = None if executor == "local" else executor
    executed_by = {"--executor": engine, "--executor-options": executor_options, "--scheduler": scheduler}
    amounts = {"--workers": workers, "--time-budget": time_budget, "--recheck": recheck, "--max-seeds": max_seeds}
    flags = {"--fresh": fresh, "--until-decided": until_decided}
    others = {
        "--device": device,
        "--retry": (retry if isinstance(retry, str) else ",".join(retry)) or None,
        "--progress": "plain" if progress else "none",
    }
    if executor in SUBMITTERS and time_budget is not None:
        raise UsageError(f"time_budget is for what trains here, got executor {executor!r}")
    code, error = run_verb(["run", *selected, *_typed({**executed_by, **amounts, **flags, **others})])
    if code == 0 and executor in SUBMITTERS:
        _wait(folder / name, selected, progress)
    if code not in ENDED:
        raise _error(code, error)
    return load(folder / name)


def _typed(options: Mapping[str, Any]) -> list[str]:
    """Options as they are typed: a flag alone where it is True, nothing where there is no value."""
    given = {option: value for option, value in options.items() if value is not None and value is not False}
    return [option if value is True else f"{option}={value}" for option, value in given.items()]


def _error(code: int, words: str) -> BaseException:
    """What a run that ended with this exit code raises here."""
    if code == INTERRUPTED:
        return KeyboardInterrupt()
    return ERRORS.get(code, HarnessError)(words or f"the run ended with exit code {code}")


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


def _wait(folder: Path, words: list[str], progress: bool) -> None:
    """Return once every trial that these words select has ended, in workers on a cluster; say how far they are."""
    shown = -1
    while True:
        # The first worker writes suite.json.
        status = read_verb(["status", *words, "--json"]) if ResultsDir(folder).manifest.exists() else None
        if status is not None and progress and status["with_result"] != shown:
            shown = status["with_result"]
            print(f"{shown} of {status['trials']} trials have a result", flush=True)
        if status is not None and not status["by_status"].keys() & {*UNFINISHED} and not status["runs"]:
            return
        time.sleep(LOOK_EVERY)
