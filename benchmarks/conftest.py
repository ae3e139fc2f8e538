"""Gathers what the benchmarks measure into one table: printed, and kept in docs/measurements.md."""

import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

# One thread, and memory kept from step to step, as in a worker. It has to be known before torch is loaded.
from harness.execution.pool import WORKER_ENV

BEFORE = dict(os.environ)
os.environ.update(WORKER_ENV)
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import pytest  # noqa: E402
import torch  # noqa: E402

PAGE = Path(__file__).parents[1] / "docs" / "measurements.md"
BEGIN, END = "<!-- begin: {} -->", "<!-- end: {} -->"
ROWS: list[tuple[str, str, str, str]] = []


@pytest.fixture
def row() -> Callable[[str, str, str, str], None]:
    """Add a row to the table: the aim, what was measured, the aim's figure, the measured figure."""
    return lambda *cells: ROWS.append(cells)


def pytest_sessionfinish() -> None:
    if not ROWS:
        return
    text = table()
    print(f"\n{text}")
    write("cpu", text)


def table() -> str:
    """The rows as a table of Markdown, under the machine and the versions."""
    from harness.execution.preflight import cpu_name

    versions = f"Python {platform.python_version()}, torch {torch.__version__}, {jax_version()}"
    machine = f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores"
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {machine}, {versions}; `tox -e bench`.",
        "",
        "| aim | what | aimed at | measured |",
        "| --- | --- | --- | --- |",
        *(f"| {' | '.join(cells)} |" for cells in sorted(ROWS)),
    ]
    return "\n".join(lines)


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
