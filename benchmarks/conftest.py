"""Gathers what the benchmarks measure into tables: printed, kept in docs/measurements.md, and added to the history."""

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

# One thread, as in a worker. It has to be known before torch is loaded, and the settings of malloc before Python is:
# these are in tox.ini.
from harness.execution.pool import WORKER_ENV

BEFORE = dict(os.environ)
os.environ.update(WORKER_ENV)
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import history  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from harness.spec.trial import Trial  # noqa: E402

PAGE = Path(__file__).parents[1] / "docs" / "measurements.md"
BEGIN, END = "<!-- begin: {} -->", "<!-- end: {} -->"
ROWS: list[tuple[str, str, str, str]] = []
SIZES: list[tuple[Trial, int, float, float, float]] = []


@pytest.fixture
def row() -> Callable[[str, str, str, str], None]:
    """Add a row to the table: the aim, what was measured, the aim's figure, the measured figure."""
    return lambda *cells: ROWS.append(cells)


@pytest.fixture
def size_row() -> Callable[[Trial, int, float, float, float], None]:
    """Add a row to the table of sizes: a trial, models in a cohort, microseconds of a model's step in three ways."""
    return lambda *cells: SIZES.append(cells)


@pytest.fixture
def one_core() -> Iterator[None]:
    """One core for all that the test starts: JAX has a thread for each that it sees, whatever XLA is told."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    yield
    os.sched_setaffinity(0, cores)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Loading first: torch's DataLoader forks, and a process in which JAX has threads must not."""
    items.sort(key=lambda item: item.path.name != "test_loading.py")


def pytest_sessionfinish() -> None:
    for name, rows, text in (("cpu", ROWS, aims_table), ("sizes", SIZES, sizes_table)):
        if rows:
            print(f"\n{text()}")
            write(name, text())
    if ROWS or SIZES:
        history.append(history.CSV, figures())
        history.draw(history.read_history(history.CSV), history.PICTURE)


def machine() -> str:
    """The processor, and how many cores of it there are to use."""
    from harness.execution.environment import cpu_name

    return f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores"


def versions() -> str:
    """The versions that times depend on."""
    return f"Python {platform.python_version()}, torch {torch.__version__}, {jax_version()}"


def aims_table() -> str:
    """The rows as a table of Markdown, under the machine and the versions."""
    return table(["aim", "what", "aimed at", "measured"], sorted(ROWS))


def sizes_table() -> str:
    """The sizes as a table of Markdown, in the order in which they were measured."""
    columns = ["model", "batch size", "norm", "models", "us per model-step"]
    columns += ["times as fast as stacked layers", "as the tutorial's loop"]
    rows = [
        (
            trial.model,
            str(trial.batch_size),
            trial.norm,
            str(models),
            f"{ours:.1f}",
            f"{stacked / ours:.2f}",
            f"{loop / ours:.1f}",
        )
        for trial, models, ours, stacked, loop in SIZES
    ]
    return table(columns, rows)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown, under the day, the machine and the versions."""
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, {versions()}; `tox -e bench`.",
        "",
        f"| {' | '.join(columns)} |",
        f"| {' | '.join('---' for _ in columns)} |",
        *(f"| {' | '.join(cells)} |" for cells in rows),
    ]
    return "\n".join(lines)


def figures() -> Iterator[history.Figure]:
    """All that was measured, as rows of the history."""
    about = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": history.commit(),
        "machine": machine(),
        "versions": versions(),
    }
    for aim, what, aimed_at, measured in ROWS:
        figure = history.number(measured)
        if figure is not None:
            yield history.Figure(**about, aim=aim, what=what, aimed_at=aimed_at, figure=figure)
    for trial, _, *times in SIZES:
        where = f"{trial.model} at batch {trial.batch_size}, {trial.norm}"
        for way, microseconds in zip(("", ", stacked layers", ", the tutorial's loop"), times, strict=True):
            what = f"us per model-step of {where}{way}"
            yield history.Figure(**about, aim="sizes", what=what, aimed_at="", figure=round(microseconds, 2))


def jax_version() -> str:
    """What there is of JAX."""
    try:
        import jax
    except ImportError:
        return "without JAX"
    return f"JAX {jax.__version__}"


def read(name: str) -> str:
    """The text between the marks of that name in docs/measurements.md."""
    return PAGE.read_text("utf-8").partition(BEGIN.format(name))[2].partition(END.format(name))[0].strip()


def write(name: str, text: str) -> None:
    """Put the text between the marks of that name in docs/measurements.md."""
    begin, end = BEGIN.format(name), END.format(name)
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}", "utf-8")
