"""Checks and times the harness on a GPU in one command, and keeps the rows in docs/measurements.md.

python benchmarks/gpu.py              all of it: some ten minutes
python benchmarks/gpu.py small norms  some parts; rows of other parts stay, where they are of the same machine
python benchmarks/gpu.py --dry-run    the same on a CPU, in sizes that show that it runs; writes nothing
"""

import argparse
import os
import platform
import sys
from collections.abc import Iterable
from datetime import UTC, datetime

# JAX would take most of the memory, and multiply in TF32.
os.environ |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JAX_DEFAULT_MATMUL_PRECISION": "highest"}

import conftest
import torch
from on_gpu import FULL, PARTS, SMALL, Row

from harness.execution.gpus import ask_driver, parse_nvidia_smi

NAME = "gpu"
HEAD = ["", "| aim | what | aimed at | measured |", "| --- | --- | --- | --- |"]


def main(words: list[str]) -> int:
    """Measure, print and write; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all of them unless given")
    parser.add_argument("--dry-run", action="store_true", help="on a CPU, in small sizes; writes nothing")
    options = parser.parse_args(words)
    if strangers := [part for part in options.parts if part not in PARTS]:
        parser.error(f"no part is called {strangers[0]!r}; choose from: {', '.join(PARTS)}")
    if not options.dry_run and not torch.cuda.is_available():
        print("no CUDA device: `python -m harness doctor` says why; --dry-run shows that this runs", file=sys.stderr)
        return 4
    rows: list[Row] = []
    failed = []
    for part in options.parts or PARTS:
        try:
            for row in PARTS[part](SMALL if options.dry_run else FULL):
                rows.append(row)
                print(" | ".join(row), flush=True)
        except Exception as error:  # noqa: BLE001 (the other parts are worth having)
            failed.append(part)
            print(f"{part} failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        if not options.dry_run:
            write(rows)
    print(f"failed: {', '.join(failed)}" if failed else "all parts ran")
    return 1 if failed else 0


def write(rows: Iterable[Row]) -> None:
    """Put the rows between the marks, with those that stand there of the same machine and versions."""
    about = described()
    before = conftest.read(NAME).splitlines()
    kept = {}
    if before and before[0].partition(" ")[2] == about.partition(" ")[2]:
        cells = [line.strip("| ").split(" | ") for line in before[1 + len(HEAD) :]]
        kept = {tuple(row[:2]): tuple(row) for row in cells if len(row) == 4}
    kept |= {row[:2]: row for row in rows}
    lines = [about, *HEAD, *(f"| {' | '.join(kept[key])} |" for key in sorted(kept))]
    conftest.write(NAME, "\n".join(lines))


def described() -> str:
    """When, where and with what: the machine and the versions; a day later, rows of the same still count."""
    (gpu, *others) = parse_nvidia_smi(ask_driver() or "")
    cores = len(os.sched_getaffinity(0))
    count = f"{1 + len(others)} x {gpu.name}" if others else gpu.name
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, {conftest.jax_version()}"
    machine = f"{count}, driver {gpu.driver}, {cores} cores"
    return f"{datetime.now(UTC):%Y-%m-%d}, {machine}, {versions}; `python benchmarks/gpu.py`."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
