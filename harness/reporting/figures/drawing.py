"""What several figures draw: an empty canvas, a legend, axes of learning rates, and seeds beside their means."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from numpy.typing import NDArray

from harness.analysis import formatting, pairing
from harness.analysis.measures.measure import CHANCE, WORST, Measure
from harness.analysis.metrics import FAILED
from harness.reporting.figures.frame import ResultSlice
from harness.reporting.figures.style import GREY, STYLE, WIDTH, label_text
from harness.reporting.svg import mark_titles

LEGEND_LETTERS = 72  # in a row as wide as a figure
XLABEL_LETTERS = 62  # on a line of the label of an axis
MAX_LR_LABELS = 7  # learning rates that each have a number below them
LEADING_DIGITS = (  # up to which width of the axis, as a factor -> the digits that ticks begin with
    (1.6, (0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4)),
    (4, (1, 1.2, 1.5, 2, 3, 4, 5, 7)),
    (20, (1, 1.5, 2, 3, 5)),
    (100, (1, 2, 5)),
    (np.inf, (1, 3)),
)
WIDE = 30  # factor between the least and the largest value from which on an axis is logarithmic
LR_MARGIN = 1.5  # factor on both sides of the learning rates, where the data give no limits


@contextmanager
def canvas(height: float, legend_title: str = "") -> Iterator[Figure]:
    """An empty figure in the style of all; on leaving it gets its legend."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure
        _add_legend(figure, legend_title)


def _add_legend(figure: Figure, title: str) -> None:
    """One legend above all panels, where it hides nothing; an arm that stands in several panels is named once."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if handles:
        per_row = max(1, LEGEND_LETTERS // (8 + max(map(len, handles))))
        rows = -(-len(handles) // per_row)
        figure.legend(
            list(handles.values()),
            list(handles),
            title=label_text(formatting.axis(title)),
            loc="outside upper center",
            ncols=-(-len(handles) // rows),
        )


def shared_xlabel(figure: Figure, label: str) -> None:
    """The label of the x axis below all of the figure: names of grid points leave the axes less room than it needs."""
    figure.supxlabel(fill(label, XLABEL_LETTERS), size="medium")


def log_lr(axes: Axes, lrs: list[float]) -> None:
    """A log axis of learning rates, with a mark at each that was tried."""
    axes.set_xscale("log")
    if not np.isfinite(axes.dataLim.get_points()).all():  # nothing has a result here
        axes.set_xlim(min(lrs) / LR_MARGIN, max(lrs) * LR_MARGIN)
    if len(lrs) <= MAX_LR_LABELS:
        axes.set_xticks(lrs)
        axes.set_xticks([], minor=True)
    else:
        axes.set_xticks(lrs, minor=True)
        axes.tick_params(axis="x", which="minor", labelbottom=False)
    plain_numbers(axes.xaxis)
    axes.set_xlabel("learning rate")


class BetweenPowers(LogFormatter):
    """Labels for the ticks between powers of ten, where an axis is so short that it needs them."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return formatting.number(x) if super().__call__(x, pos) else ""


def plain_numbers(axis: Axis) -> None:
    """Tick labels as 0.01 and 10, not as powers."""
    axis.set_major_formatter(lambda value, _: formatting.number(value))
    if axis.get_scale() == "log":
        axis.set_minor_formatter(BetweenPowers())


def numbers_on_log_axis(axes: Axes) -> None:
    """Numbers below a log axis as close as they have room: all of a narrow range, few of each decade of a wide one."""
    plain_numbers(axes.xaxis)
    low, high = axes.get_xlim()
    leading = next(leading for width, leading in LEADING_DIGITS if high / low <= width)
    numbered = [digit * 10.0**power for power in range(-6, 7) for digit in leading]
    axes.set_xticks([x for x in numbered if low <= x <= high])
    axes.set_xticks([], minor=True)


def lines_per_trial(axes: Axes, curves: pd.DataFrame, x: str, data: ResultSlice) -> None:
    """A thin line for each trial, in the colour of its arm."""
    look = {"hue": data.compare, "hue_order": data.arms, "palette": data.palette, "lw": 0.6, "alpha": 0.35}
    before = len(axes.lines)
    sns.lineplot(curves, x=x, y="value", units="key", estimator=None, legend=False, ax=axes, **look)
    for line, (arm, seed, key) in zip(axes.lines[before:], _drawn_trials(curves, data), strict=False):
        line.set_gid(mark_titles([f"{formatting.value(arm)}, seed {seed}, key {key}"]))
    axes.set(xlabel="", ylabel="")


def _drawn_trials(curves: pd.DataFrame, data: ResultSlice) -> Iterator[tuple[Any, Any, str]]:
    """Arm, seed and key of each line in the order in which seaborn draws them: by arm, then by key."""
    for arm, rows in data.by_arm(curves):
        for key, of_trial in rows.groupby("key", sort=True):
            if of_trial["value"].notna().any():
                yield arm, of_trial["seed"].iloc[0], str(key)


def seeds_over_columns(axes: Axes, scores: pd.DataFrame, colors: Sequence[str]) -> None:
    """A column of dots for each column of `scores`, a bar for its mean, and a thin grey line for each row, a seed."""
    scores = scores.set_axis(range(len(colors)), axis="columns").rename_axis(index="seed", columns="x")
    rows = scores.melt(ignore_index=False, value_name="score").reset_index().dropna()
    xy = {"data": rows, "x": "x", "y": "score", "ax": axes, "legend": False}
    sns.lineplot(**xy, units="seed", estimator=None, color="#9a9a9a", lw=0.7, zorder=1)
    sns.scatterplot(**xy, hue="x", palette=dict(enumerate(colors)), s=13, linewidth=0, alpha=0.7, zorder=2)
    axes.hlines(scores.mean(), np.subtract(scores.columns, 0.24), np.add(scores.columns, 0.24), colors=colors, lw=2.2)
    axes.set(xlabel="", ylabel="", xlim=(-0.5, len(colors) - 0.5))


def guess_line(axes: Axes, y: float) -> None:
    """A dotted line where guessing would be."""
    axes.axhline(y, ls=":", lw=1, color=GREY)


def guess_of(trials: pd.DataFrame, metric: Measure) -> float:
    """What guessing comes to, NaN where no trial has a result."""
    known = metric.policy.value(trials).astype("float64").dropna()
    return float(known.iloc[0]) if len(known) else float("nan")


def is_near_guess(scores: "pd.Series[float]", guess: float, metric: Measure) -> bool:
    """Whether some scores are so bad that a line at the guess would not only squeeze what there is to see."""
    if metric.sign > 0:
        return bool(scores.min() < 2 * guess or scores.min() <= guess)
    return bool(scores.max() > guess / 2)


def guess_words(metric: Measure) -> str:
    """What the line of guessing is called."""
    if metric.policy is CHANCE:
        return "chance"
    return "the worst value" if metric.policy.words.startswith(WORST) else "guessing"


def spans_decades(scores: Any, metric: Measure) -> bool:
    """Whether the values of a metric that has no upper end lie so far apart that only a log axis shows all of them."""
    values = np.asarray(scores, dtype=np.float64)
    values = values[np.isfinite(values)]
    return bool(
        not np.isfinite(metric.high) and len(values) and values.min() > 0 and values.max() > WIDE * values.min()
    )


def score_axis(axes: Axes, scores: Any, metric: Measure) -> None:
    """Number a y axis of fractions in per cent, and make one logarithmic where its values span decades."""
    if metric.unit is formatting.POINTS:
        axes.yaxis.set_major_formatter(lambda value, _: formatting.number(100 * value))
    elif spans_decades(scores, metric):
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)


def symlog_ticks(low: float, high: float, edge: float) -> list[float]:
    """Where an axis that is linear near 0 has its numbers: 0, `edge` on either side, and beyond 1, 3, 10, 30 and so on.

    Of these beyond, only powers of ten where the axis goes over more than two of them.
    """
    furthest = max(high, -low)
    leading = (1, 3) if furthest < 100 * edge else (1,)
    beyond = [digit * 10.0**power for power in range(-6, 9) for digit in leading]
    up, down = ([x for x in beyond if 2.4 * edge < x <= limit] for limit in (high, -low))
    return sorted([*(-x for x in down), -edge, 0.0, edge, *up])


def up_is_better(metric: Measure) -> str:
    """What a caption adds to a difference where less of the metric is better."""
    return "" if metric.sign > 0 else ", up being better"


def difference_label(metric: Measure, baseline: str) -> str:
    """What an axis of differences shows, on which up is better."""
    if metric.unit is formatting.POINTS:
        return f"points against {baseline}"
    return f"{metric.better} than {baseline}{f', {metric.unit.name}' if metric.unit.name else ''}"


def seed_titles(rows: pd.DataFrame, arm: Any, point: pairing.Point, metric: Measure) -> list[str]:
    """What the mark of each trial says: arm, grid point, seed, value, key."""
    where = ", ".join(filter(None, [formatting.value(arm), formatting.point(point)]))
    drawn = rows[rows["score"].notna()]
    columns = (drawn[name] for name in ("seed", "score", "status", "key"))
    trials = [
        (seed, "failed to train" if status in FAILED else formatting.level(score, metric.unit), key)
        for seed, score, status, key in zip(*columns, strict=True)
    ]
    return [f"{where}, seed {seed}: {outcome}, key {key}" for seed, outcome, key in trials]


def failed_ticks(failed: int, rows: pd.DataFrame, scored: pd.DataFrame, metric: Measure) -> NDArray[np.float64]:
    """Where the ticks of failed trials stand: beyond the line of guessing, one for each, none hidden behind another."""
    distance = 0.03 + min(0.012, 0.12 / max(1, failed)) * np.arange(failed)
    guess = guess_of(rows, metric)
    if metric.unit is formatting.POINTS:
        return np.asarray(guess - metric.sign * distance, dtype=np.float64)
    if spans_decades(scored["score"], metric):
        return np.asarray(guess * 10 ** (-metric.sign * 2 * distance), dtype=np.float64)
    spread = float(scored["score"].max() - scored["score"].min())
    return np.asarray(guess - metric.sign * distance * spread, dtype=np.float64)
