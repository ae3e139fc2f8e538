"""What does a step cost? Ratios of step times, one dot for each pair of trials, for the claims that ask."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from harness.analysis import formatting, pairing
from harness.analysis.claims.costs import cost_pairs
from harness.analysis.stats import mean_interval
from harness.reporting.figures.drawing import canvas, plain_numbers, shared_xlabel
from harness.reporting.figures.frame import UNTESTED, ReportFigure, ResultSlice, claims_of, report_figure
from harness.reporting.figures.style import label_text
from harness.spec.claim import Claim
from harness.storage.tables import Results

ROW_HEIGHT = 0.42  # inches
LEADING_DIGITS = (  # up to which width of the axis, as a factor -> the digits that ticks begin with
    (1.6, (0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4)),
    (4, (1, 1.2, 1.5, 2, 3, 4, 5, 7)),
    (20, (1, 1.5, 2, 3, 5)),
    (np.inf, (1, 3)),
)


def step_costs(results: Results) -> Iterator[ReportFigure]:
    """One figure for each claim on costs: a row for each grid point, on a log axis with a line at 1."""
    for number, claim in claims_of(results, "costs"):
        data = ResultSlice(results=results, trials=pairing.matching(results.trials, claim.where))
        points = [pairs for pairs in cost_pairs(results, data.trials, claim.arm, claim.than) if len(pairs.differences)]
        if not points:
            continue
        with canvas(1.5 + ROW_HEIGHT * len(points)) as figure:
            _draw_ratios(figure.subplots(), points, claim, data.palette[claim.arm])
            baseline = f"{data.compare}={label_text(claim.than)}"
            shared_xlabel(figure, f"step time with {label_text(claim.arm)} relative to {baseline}")
        pairs_at = [str(n) for n in sorted({len(pairs.differences) for pairs in points})]
        yield report_figure(
            data,
            figure,
            name=f"costs_{number}",
            title=f"What does a step cost with {formatting.value(claim.arm)}?",
            caption=(
                "Each dot is the ratio of the step times of two trials with one seed; diamonds are geometric means, "
                f"bars their 95 % t intervals over the logarithms. Solid line: equal; dashed: the claim's "
                f"{formatting.number(claim.margin)} times. Trials that trained together are one measurement."
            ),
            alt=(
                f"Step time with {formatting.value(claim.arm)} relative to {formatting.value(claim.than)}: "
                f"{'; '.join(map(_ratio_in_words, points))}."
            ),
            sample=f"n = {formatting.listing(pairs_at)} pairs of equal seed, {UNTESTED}.",
        )


def _draw_ratios(axes: Axes, points: list[pairing.Pairs], claim: Claim, color: str) -> None:
    axes.set_xscale("log")
    axes.axvline(1, color="black", lw=1)
    axes.axvline(claim.margin, color="#777777", lw=1, ls=(0, (4, 2)))
    rows = pd.DataFrame(
        [(row, ratio) for row, pairs in enumerate(points) for ratio in np.exp(-pairs.differences)],
        columns=["row", "ratio"],
    )
    ratios = {"data": rows, "x": "ratio", "y": "row", "orient": "h", "ax": axes}
    sns.stripplot(**ratios, jitter=False, size=4, alpha=0.5, color=color, zorder=2)
    # On a log axis seaborn takes means and intervals of the logarithms.
    sns.pointplot(
        **ratios, errorbar=_t_interval, linestyle="none", color="black", marker="D", markersize=5, err_kws={"lw": 1.4}
    )
    axes.set_yticks(range(len(points)), [label_text(formatting.point(pairs.point)) for pairs in points])
    axes.set(xlabel="", ylabel="", ylim=(len(points) - 0.5, -0.5))
    plain_numbers(axes.xaxis)
    low, high = axes.get_xlim()
    # Numbers as close as they have room: all of a narrow range, few of each decade of a wide one.
    leading = next(leading for width, leading in LEADING_DIGITS if high / low <= width)
    numbered = [digit * 10.0**power for power in range(-6, 7) for digit in leading]
    axes.set_xticks([x for x in numbered if low <= x <= high])
    axes.set_xticks([], minor=True)


def _t_interval(values: "pd.Series[float]") -> tuple[float, float]:
    _, low, high = mean_interval(np.asarray(values, dtype=np.float64))
    return low, high


def _ratio_in_words(pairs: pairing.Pairs) -> str:
    where = f"at {formatting.point(pairs.point)} " if pairs.point else ""
    mean = float(np.exp(-pairs.differences.mean()))
    return f"{where}{formatting.number(mean)} times (n = {len(pairs.differences)})"
