"""What a verdict rests on: the estimate at each grid point with its interval, beside the margin of the claim."""

import math
from collections.abc import Iterable, Iterator

import numpy as np
from matplotlib.axes import Axes

from harness.analysis import formatting
from harness.analysis.comparison import Comparison
from harness.analysis.formatting import Unit
from harness.analysis.verdicts import Verdict
from harness.reporting.figures.drawing import canvas, numbers_on_log_axis, plain_numbers, shared_xlabel
from harness.reporting.figures.frame import ReportFigure, ResultSlice, report_figure
from harness.reporting.figures.style import GREY, label_text
from harness.reporting.findings import point_finding
from harness.reporting.svg import mark_titles
from harness.reporting.variants import variant_verdicts
from harness.storage.tables import Results

POINT_HEIGHT = 0.26  # inches
MAX_SHOWN = 24  # grid points
INK = "#1b1b1b"
MARKS = {"supported": ("o", INK), "refuted": ("X", INK)}  # words of verdicts -> marker and its face
OPEN = ("o", "white")  # of any other word


def estimates(results: Results, verdicts: Iterable[Verdict]) -> Iterator[ReportFigure | None]:
    """A figure for each verdict, None where no pair of seeds has results yet, or one figure shows all variants."""
    data, verdicts = ResultSlice.whole(results), list(verdicts)
    in_forest = {id(verdict) for verdict in variant_verdicts(verdicts)}
    for number, verdict in enumerate(verdicts, start=1):
        judged = [c for c in verdict.comparisons if c.verdict and c.n and math.isfinite(c.estimate)]
        is_drawn = judged and id(verdict) not in in_forest
        yield _estimates(data, verdict, judged, f"claim_{number}") if is_drawn else None


def _estimates(data: ResultSlice, verdict: Verdict, judged: list[Comparison], name: str) -> ReportFigure:
    shown = judged[:MAX_SHOWN]
    unit = shown[0].definition.unit
    with canvas(1.0 + POINT_HEIGHT * len(shown)) as figure:
        axes = figure.subplots()
        draw_margin(axes, shown[0], unit)
        for row, comparison in enumerate(shown):
            marker, face = MARKS.get(comparison.verdict, OPEN)
            title = mark_titles([f"{comparison.point or 'all'}: {point_finding(comparison)}; {comparison.verdict}"])
            ends = [formatting.to_unit(end, unit) for end in (comparison.low, comparison.high)]
            if comparison.n >= comparison.seeds_needed and np.isfinite(ends).all():
                axes.plot(ends, [row, row], lw=1.6, color=INK, solid_capstyle="butt", gid=title)
            estimate = formatting.to_unit(comparison.estimate, unit)
            axes.plot([estimate], [row], marker, ms=6.5, mec=INK, mfc=face, mew=1.3, gid=title)
        axes.set_yticks(range(len(shown)), [label_text(c.point) or "all" for c in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        if unit.is_ratio:
            axes.set_xscale("log")
            numbers_on_log_axis(axes)
        else:
            plain_numbers(axes.xaxis)
        shared_xlabel(figure, difference_axis_label(shown[0]))
    return report_figure(
        data,
        figure,
        name=name,
        title=verdict.statement,
        caption=_verdict_caption(judged),
        alt=f"Estimates with intervals in a row for each grid point: {formatting.listing(_in_words(shown))}.",
        shown=(len(shown), len(judged), "grid points"),
        shows_trials=False,
    )


def difference_axis_label(comparison: Comparison) -> str:
    """What the axis shows: differences and which way is which, ratios, or a share."""
    metric, arm = comparison.definition, label_text(comparison.arm)
    if metric.unit.is_ratio:
        return f"{metric.words.removesuffix(', as a ratio')} with {arm} relative to {label_text(comparison.than)}"
    unit = f", {metric.unit.name}" if metric.unit.name else ""
    if metric.unit is formatting.SHARE:
        return f"{metric.words}{unit}"
    return f"difference in {metric.words}{unit} (right: {metric.better} with {arm})"


def draw_margin(axes: Axes, comparison: Comparison, unit: Unit) -> None:
    """A line where there is no difference; a band in which arms count as equal, or a dashed line to be beyond of."""
    none, low, high = (formatting.to_unit(value, unit) for value in (0.0, -comparison.margin, comparison.margin))
    axes.axvline(none, lw=0.9, color=GREY)
    if comparison.is_equivalence:
        axes.axvspan(low, high, color="#d9d9d9", alpha=0.6, lw=0)
    elif comparison.margin:
        axes.axvline(high, lw=1.2, ls=(0, (4, 2)), color=INK)


def _verdict_caption(judged: list[Comparison]) -> str:
    n = sorted({comparison.n for comparison in judged})
    counts = f"{n[0]} to {n[-1]}" if len(n) > 1 else f"{n[0]}"
    units = "seeds" if judged[0].is_one_sample else "pairs of equal seed"
    is_tested = any(comparison.n >= comparison.seeds_needed for comparison in judged)
    bars = "bars are 95 % intervals over seeds" if is_tested else "too few seeds for intervals or tests: descriptive"
    return (
        f"The mean difference at each grid point, n = {counts} {units}; {bars}. Filled: most seeds support the claim; "
        f"cross: most refute it; hollow: neither (exact sign test, "
        f"Holm over {formatting.count(judged[0].family, 'claim')}). Dashed or grey: the margin."
    )


def _in_words(comparisons: list[Comparison]) -> Iterator[str]:
    for c in comparisons:
        yield f"{c.point or 'in all'} {formatting.format_bound(c.estimate, c.unit, c.bound)}"
