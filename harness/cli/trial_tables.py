"""Tables on one trial: its settings, and its curves at some of their steps."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Column, Table

MAX_CURVE_STEPS = 12  # steps of a curve; the table has all of them
LARGE = 1000  # from which on all digits before the point are shown
MAX_PROBE_STEPS = 3  # steps of a curve that stands in a row: more don't fit beside the longest name
Curves = Mapping[str, Mapping[str, Sequence[Any]]]  # name -> step, value


def pairs_table(kind: str, values: Mapping[str, Any]) -> Table:
    """A row for each name and its value."""
    table = Table(kind, "value")
    for name, value in values.items():
        table.add_row(name, _rounded(value))
    return table


def _rounded(value: Any) -> str:
    """A value as text, of a number that is no whole one four significant digits; empty where there is none."""
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4g}" if not abs(value) >= LARGE else f"{value:.0f}"


def curves_table(curves: Curves) -> Table:
    """A column for each curve."""
    table = Table("step", *(name.replace(".", "\n") for name in curves), title="curves")
    for step in _some_steps(curves, MAX_CURVE_STEPS):
        table.add_row(str(step), *(_value_at(curve, step) for curve in curves.values()))
    return table


def probes_table(curves: Curves) -> Table:
    """A row for each curve of a probe, of which there are many."""
    steps = _some_steps(curves, MAX_PROBE_STEPS)
    table = Table(Column("probe", no_wrap=True), *(f"step {step}" for step in steps))
    for name, curve in curves.items():
        table.add_row(name.partition(".")[2], *(_value_at(curve, step) for step in steps))
    return table


def _some_steps(curves: Curves, most: int) -> list[int]:
    """At most so many of the steps, the first and the last included."""
    steps = sorted({step for curve in curves.values() for step in curve["step"]})
    return list(dict.fromkeys(steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)))


def _value_at(curve: Mapping[str, Sequence[Any]], step: int) -> str:
    value = dict(zip(curve["step"], curve["value"], strict=True)).get(step)
    return "" if value is None else f"{value:.4g}"
