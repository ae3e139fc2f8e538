"""`show`: one trial, with the command that replays it."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from harness.cli.console import Console
from harness.errors import UsageError
from harness.storage.records import ResultsDir, read_manifest, read_record

MOST_ROWS = 12  # of a curve; the table has all of them
MOST_COLUMNS = 3  # of a curve that stands in a row: more don't fit beside the longest name
Curves = Mapping[str, Mapping[str, list[Any]]]  # name -> step, value


def show(options: argparse.Namespace) -> int:
    """Print all that is known of a trial; the exit code."""
    path = find_record(options.results, options.trial)
    record, place = read_record(path), ResultsDir(path.parent.parent)
    print(f"trial {record.key} of {place.root.name}: {record.outcome}")
    if record.error:
        print(f"error: {record.error}")
    for log in sorted(place.logs.glob(f"{record.key}.*.log")):
        print(f"log: {log}")
    console = Console()
    console.print(_pairs("setting", record.trial))
    console.print(_pairs("outcome", record.facts))
    probed = {name: curve for name, curve in record.curves.items() if name.startswith("probe.")}
    judged = {name: curve for name, curve in record.curves.items() if name not in probed}
    if judged:
        console.print(_curves(judged))
    if probed:
        console.print(_probes(probed))
    console.print(_pairs("measured", record.telemetry))
    manifest = read_manifest(place)
    suite = manifest.path if manifest else f"suites/{place.root.name}.py"
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


def _curves(curves: Curves) -> Table:
    """The curves at some of their steps, the first and the last included."""
    table = Table("step", *(name.replace(".", "\n") for name in curves), title="curves")
    for step in _some_steps(curves, MOST_ROWS):
        table.add_row(str(step), *(_cell(curve, step) for curve in curves.values()))
    return table


def _probes(curves: Curves) -> Table:
    """The curves of probes, which are many, each in a row."""
    steps = _some_steps(curves, MOST_COLUMNS)
    table = Table(Column("probe", no_wrap=True), *(f"step {step}" for step in steps))
    for name, curve in curves.items():
        table.add_row(name.partition(".")[2], *(_cell(curve, step) for step in steps))
    return table


def _some_steps(curves: Curves, most: int) -> list[int]:
    """At most so many of the steps, the first and the last included."""
    steps = sorted({step for curve in curves.values() for step in curve["step"]})
    return list(dict.fromkeys(steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)))


def _cell(curve: Mapping[str, list[Any]], step: int) -> str:
    value = dict(zip(curve["step"], curve["value"], strict=True)).get(step)
    return "" if value is None else f"{value:.4g}"
