"""What does each setting do? One row for each variant of an arm, against the settings that all are compared with."""

from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import Any

import numpy as np

from harness.analysis import formatting
from harness.analysis.comparison import Comparison
from harness.analysis.judging import REFUTED, SUPPORTED
from harness.analysis.verdicts import Verdict
from harness.reporting.figures.drawing import canvas, plain_numbers, shared_xlabel, symlog_ticks
from harness.reporting.figures.frame import ReportFigure, ResultSlice, report_figure
from harness.reporting.figures.style import GREY, label_text
from harness.reporting.figures.verdict import MARKS, OPEN, difference_axis_label, draw_margin
from harness.reporting.findings import changed_words, estimated_points, judged_points, point_finding
from harness.reporting.svg import mark_titles
from harness.reporting.variants import default_words, variant_verdicts
from harness.storage.tables import Results

ROW_HEIGHT = 0.3  # inches
LABEL_LETTERS = 34  # on a line of the name of a variant
FAR = 8  # margins: differences beyond that leave no room for those near the margin on a linear axis
COLORS = {SUPPORTED: "#0a6b4f", REFUTED: "#a33a00"}
UNTOLD = "#5f5f5f"  # of any other word

Row = tuple[str, Comparison]


def variants_forest(results: Results, verdicts: Sequence[Verdict]) -> Iterator[ReportFigure]:
    """One figure of all variants of an arm that claims compare, where there are several."""
    variants = variant_verdicts(verdicts)
    rows = [
        (", ".join(filter(None, [changed_words(verdict.claim), _further(c, verdict)])), c)
        for verdict in variants
        for c in estimated_points(verdict)
    ]
    if not rows:
        return
    data = ResultSlice.whole(results)
    with canvas(1.1 + ROW_HEIGHT * len(rows)) as figure:
        axes = figure.subplots()
        first = rows[0][1]
        unit = first.definition.unit
        draw_margin(axes, first, unit)
        for y, (name, c) in enumerate(rows):
            color = COLORS.get(c.verdict, UNTOLD)
            marker, face = MARKS.get(c.verdict, OPEN)
            ends = [formatting.to_unit(end, unit) for end in (c.low, c.high)]
            title = mark_titles([f"{name}: {point_finding(c)}; {c.verdict}"])
            if c.n >= c.seeds_needed and np.isfinite(ends).all():
                axes.plot(ends, [y, y], lw=1.8, color=color, gid=title)
            estimate = formatting.to_unit(c.estimate, unit)
            look: Any = {"mec": color, "mfc": color if face != "white" else face, "mew": 1.4}
            axes.plot([estimate], [y], marker, ms=6.5, **look, gid=title)
        axes.set_yticks(
            range(len(rows)), [fill(label_text(name), LABEL_LETTERS, break_on_hyphens=False) for name, _ in rows]
        )
        axes.set_ylim(len(rows) - 0.4, -0.6)
        if unit.is_ratio:
            axes.set_xscale("log")
        elif _is_far(rows):
            axes.set_xscale("symlog", linthresh=2 * unit.factor * first.margin, linscale=1.2)
            axes.axvline(0, lw=0.9, color=GREY)
            low, high = axes.dataLim.intervalx
            axes.set_xticks(symlog_ticks(low, high, unit.factor * first.margin))
            axes.set_xticks([], minor=True)
        plain_numbers(axes.xaxis)
        shared_xlabel(figure, _axis_label(first))
    yield report_figure(
        data,
        figure,
        name="variants",
        title="What does each setting do?",
        caption=(
            f"A row for each change, all else as the others: {default_words(variants)}. The mark is the mean "
            f"difference from that, the bar its 95 % interval; grey: the margin within which both count as equal. "
            f"Filled: supported; cross: refuted; hollow: undecided."
        ),
        alt=f"Differences from the common settings: {formatting.listing(_in_words(rows))}.",
        shows_trials=False,
    )


def _further(c: Comparison, verdict: Verdict) -> str:
    """The part of the grid point that the name of the variant does not tell."""
    told = set(verdict.claim.against)
    parts = [part for part in c.point.split(", ") if not any(part.startswith(f"{formatting.axis(a)} ") for a in told)]
    return ", ".join(parts) if len(judged_points(verdict)) > 1 else ""


def _is_far(rows: Sequence[Row]) -> bool:
    margin = rows[0][1].margin
    return bool(margin) and max(abs(c.estimate) for _, c in rows) > FAR * margin


def _axis_label(c: Comparison) -> str:
    return difference_axis_label(c).replace(f"with {label_text(c.arm)}", "with the change")


def _in_words(rows: Sequence[Row]) -> Iterator[str]:
    for name, c in rows:
        yield f"{name} {formatting.format_bound(c.estimate, c.unit, c.bound)}"
