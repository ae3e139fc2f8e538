"""`show`: one trial, with the command that replays it."""

import argparse
import re
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.errors import UsageError
from harness.records import Place, Record, read_manifest, read_record

MOST_ROWS = 12  # of a curve; the table has all of them


def show(options: argparse.Namespace) -> int:
    """Print all that is known of a trial; the exit code."""
    path = find_record(options.results, options.trial)
    record, place = read_record(path), Place(path.parent.parent)
    print(f"trial {record.key} of {place.root.name}: {record.outcome}")
    if record.error:
        print(f"error: {record.error}")
    for log in sorted(place.logs.glob(f"{record.key}.*.log")):
        print(f"log: {log}")
    console = Console()
    console.print(_pairs("setting", record.trial))
    console.print(_pairs("outcome", record.facts))
    if record.curves:
        console.print(_curves(record))
    console.print(_pairs("measured", record.telemetry))
    manifest = read_manifest(place)
    suite = manifest["path"] if manifest else f"suites/{place.root.name}.py"
    if place.model(record.key, "last").exists():
        print(f"its model: python -m harness export {record.key} --format checkpoint -o {record.key}.pth")
    print(f"replay it with: python -m harness run {suite} --only key={record.key} --results replay")
    return 0


def find_record(results: Path, prefix: str) -> Path:
    """The record of the trial whose key begins so; UsageError where there is none, or more than one."""
    if not re.fullmatch(r"[0-9a-f]{1,16}", prefix):
        raise UsageError(f"a trial is named by its key, 16 hex digits or the first of them, got {prefix!r}")
    found = sorted(results.glob(f"*/records/{prefix}*.json"))
    if not found:
        raise UsageError(f"no trial in {results} has a key that begins with {prefix!r}; trials.csv has the keys")
    if len(found) > 1:
        names = ", ".join(f"{path.stem} ({path.parent.parent.name})" for path in found[:5])
        raise UsageError(f"{len(found)} trials begin with {prefix!r}: {names}; give more digits, or another --results")
    return found[0]


def _pairs(kind: str, values: object) -> Table:
    table = Table(kind, "value")
    assert isinstance(values, dict)
    for name, value in values.items():
        table.add_row(name, "" if value is None else str(value))
    return table


def _curves(record: Record) -> Table:
    """The curves at some of their steps, the first and the last included."""
    steps = sorted({step for curve in record.curves.values() for step in curve["step"]})
    shown = [steps[round(i * (len(steps) - 1) / (MOST_ROWS - 1))] for i in range(MOST_ROWS)]
    table = Table("step", *(name.replace(".", "\n") for name in record.curves), title="curves")
    values = {name: dict(zip(curve["step"], curve["value"], strict=True)) for name, curve in record.curves.items()}
    for step in dict.fromkeys(shown):
        cells = [values[name].get(step) for name in record.curves]
        table.add_row(str(step), *("" if cell is None else f"{cell:.4g}" for cell in cells))
    return table
