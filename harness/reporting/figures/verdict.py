"""What a verdict rests on: the estimate at each grid point with its interval, beside the margin of the claim."""

import math
from collections.abc import Iterable, Iterator

import numpy as np
from matplotlib.axes import Axes

from harness.analysis import formatting
from harness.analysis.claims import KINDS
from harness.analysis.comparison import Comparison
from harness.analysis.formatting import Unit
from harness.analysis.metrics import METRICS
from harness.analysis.verdicts import Verdict
from harness.reporting.figures.frame import ReportFigure, canvas, label_text, plain_numbers, shared_xlabel

ROW = 0.26  # inches
MOST_ROWS = 24
INK = "#1b1b1b"
MARKS = {"supported": ("o", INK), "refuted": ("X", INK), "undecided": ("o", "white"), "descriptive": ("o", "white")}


def estimates(verdicts: Iterable[Verdict]) -> Iterator[ReportFigure | None]:
    """A picture for each verdict, None where no pair of seeds has results yet."""
    for number, verdict in enumerate(verdicts, start=1):
        found = [c for c in verdict.comparisons if c.verdict and c.n and math.isfinite(c.estimate)]
        yield _picture(verdict, f"claim_{number}", found) if found else None


def _picture(verdict: Verdict, name: str, found: list[Comparison]) -> ReportFigure:
    shown = found[:MOST_ROWS]
    metric = METRICS[shown[0].metric]
    with canvas(1.0 + ROW * len(shown)) as figure:
        axes = figure.subplots()
        _margin(axes, verdict, shown[0], metric.unit)
        for row, comparison in enumerate(shown):
            mark, face = MARKS[comparison.verdict]
            ends = [formatting.to_unit(end, metric.unit) for end in (comparison.low, comparison.high)]
            if comparison.n >= comparison.seeds_needed and np.isfinite(ends).all():
                axes.plot(ends, [row, row], lw=1.6, color=INK, solid_capstyle="butt")
            axes.plot(
                [formatting.to_unit(comparison.estimate, metric.unit)], [row], mark, ms=6.5, mec=INK, mfc=face, mew=1.3
            )
        axes.set_yticks(range(len(shown)), [label_text(c.point) or "all" for c in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        if metric.unit.is_ratio:
            axes.set_xscale("log")
        plain_numbers(axes.xaxis)
        shared_xlabel(figure, _label(shown[0]))
    return ReportFigure(name=name, title=verdict.statement, figure=figure, caption=_caption(found), alt=_alt(found))


def _label(of: Comparison) -> str:
    """What the axis shows: differences and which way is which, ratios, or a share."""
    metric = METRICS[of.metric]
    if metric.unit.is_ratio:
        return f"{metric.words.removesuffix(', as a ratio')}: {label_text(of.arm)} in times of {label_text(of.than)}"
    unit = f", {metric.unit.name}" if metric.unit.name else ""
    if metric.unit is formatting.SHARE:
        return f"{metric.words}{unit}"
    return f"difference in {metric.words}{unit} (right: {metric.better} with {label_text(of.arm)})"


def _margin(axes: Axes, verdict: Verdict, of: Comparison, unit: Unit) -> None:
    """A line where there is no difference; a band in which arms count as equal, or a dashed line to be beyond of."""
    nothing, low, high = (formatting.to_unit(value, unit) for value in (0.0, -of.margin, of.margin))
    axes.axvline(nothing, lw=0.9, color="#808080")
    if not math.isnan(of.equivalence_p) and KINDS[verdict.claim.kind].is_equivalence:
        axes.axvspan(low, high, color="#d9d9d9", alpha=0.6, lw=0)
    elif of.margin:
        axes.axvline(high, lw=1.2, ls=(0, (4, 2)), color=INK)


def _caption(found: list[Comparison]) -> str:
    n = sorted({comparison.n for comparison in found})
    counts = f"{n[0]} to {n[-1]}" if len(n) > 1 else f"{n[0]}"
    units = "seeds" if found[0].is_one_sample else "pairs of equal seed"
    tested = [comparison for comparison in found if comparison.n >= comparison.seeds_needed]
    bars = "bars are 95 % intervals over seeds. " if tested else "too few seeds for intervals or tests: descriptive. "
    shown = f"Shown: {MOST_ROWS} of {len(found)} grid points. " if len(found) > MOST_ROWS else ""
    return (
        f"The estimate at each grid point, n = {counts} {units}; {bars}Filled: supported after Holm over "
        f"{formatting.count(found[0].family, 'comparison')}; a cross: refuted; hollow: neither. Dashed or "
        f"grey: the margin "
        f"of the claim. {shown}"
    ).strip()


def _alt(found: list[Comparison]) -> str:
    unit = METRICS[found[0].metric].unit
    said = [f"{c.point or 'in all'} {formatting.format_bound(c.estimate, unit, c.bound)}" for c in found[:MOST_ROWS]]
    return f"Estimates with intervals in a row for each grid point: {formatting.listing(said)}."
