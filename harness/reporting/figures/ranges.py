"""Which learning rates work: the usable range of each arm, and where trials fail."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.analysis import formatting, pairing
from harness.analysis.lr_ranges import range_at_target, range_units
from harness.analysis.metrics import FAILED, FINISHED
from harness.analysis.stats import UsableRange
from harness.analysis.validation import over_lr
from harness.reporting.figures.drawing import canvas, log_lr, score_axis
from harness.reporting.figures.frame import ReportFigure, ResultSlice, points_of, report_figure
from harness.reporting.figures.style import GREY, label_text
from harness.reporting.svg import mark_titles
from harness.spec.manifest import measured_of
from harness.spec.measured import Target
from harness.storage.tables import Results

MAX_MAP_ROWS = 24  # of the map of failures: arms at grid points
MAX_FAILED_IN_ALT = 12
GREY_OF_FAILURE = dict(zip(FAILED, ("#2b2b2b", "#a3a3a3"), strict=True))  # colours are for arms
CELL = 0.9  # width of the bar of a cell of the map; cells are 1 apart


def usable_ranges(results: Results) -> Iterator[ReportFigure]:
    """Mean score over lr with a bracket for each arm; below, the edges of each seed."""
    target = measured_of(results.manifest).target
    if not over_lr(results.manifest) or target is None:
        return
    for data in points_of(results, "lr"):
        units = range_units(data.trials, data.manifest)
        if units["score"].isna().all():
            continue
        arms = len(data.arms)
        heights = [0.12 * arms, 2.4, max(1.2, 0.07 * arms * units["seed"].nunique())]
        with canvas(1.0 + sum(heights), data.compare) as figure:
            strip, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=heights)
            ranges = _draw_means(middle, data, target)
            _draw_brackets(strip, ranges, data)
            _draw_dumbbells(bottom, units, data)
            log_lr(bottom, pairing.values(data.manifest, "lr"))
        yield report_figure(
            data,
            figure,
            name="lr_range",
            title="How wide is the usable range of learning rates?",
            caption=(
                f"The mean {data.metric.words} of each arm, and above it where that reaches "
                f"{formatting.level(target.value, data.metric.unit)} (dashed). Below, the same for every seed; open "
                f"circle or arrow: it continues past the grid; cross: it reaches the target nowhere."
            ),
            alt=(
                f"{formatting.capitalised(target.spec.words)} over learning rate by arm, with the usable ranges: "
                f"{formatting.listing(_range_in_words(arm, ranges[arm]) for arm in ranges)}."
            ),
        )


def _draw_means(axes: Axes, data: ResultSlice, target: Target) -> dict[Any, UsableRange]:
    """Draw each arm's mean; the range over which it reaches the target."""
    ranges = {}
    scored = pairing.score_units(data.trials, data.metric).dropna(subset=["score"])
    for arm, rows in data.by_arm(scored):
        mean = rows.groupby("lr")["score"].mean()
        lrs, scores = mean.index.to_numpy("float64"), mean.to_numpy("float64")
        unit = data.metric.unit
        told = [
            f"{formatting.value(arm)}, lr {formatting.value(lr)}: mean {formatting.level(float(score), unit)}"
            for lr, score in zip(lrs, scores, strict=True)
        ]
        gid = mark_titles(told) if len(told) > 1 else None
        axes.plot(lrs, scores, marker="o", ms=3.5, lw=1.6, label=label_text(arm), gid=gid, **data.line(arm))
        ranges[arm] = range_at_target(lrs, scores, target)
    axes.axhline(target.value, ls="--", lw=1, color=GREY)
    score_axis(axes, scored["score"], data.metric)
    axes.set_ylabel(f"mean {data.metric.axis_words}")
    return ranges


def _draw_brackets(axes: Axes, ranges: dict[Any, UsableRange], data: ResultSlice) -> None:
    """The range of each arm's mean, one above the other."""
    for y, (arm, usable) in enumerate(ranges.items()):
        if np.isnan(usable.low):
            continue
        axes.plot([usable.low, usable.high], [-y, -y], lw=2, color=data.palette[arm])
        for edge, is_seen, beyond in (
            (usable.low, usable.low_seen, "<"),
            (usable.high, usable.high_seen, ">"),
        ):
            look: Any = {"marker": "|", "ms": 7, "mew": 2} if is_seen else {"marker": beyond, "ms": 5, "mew": 1}
            axes.plot([edge], [-y], color=data.palette[arm], **look)
    axes.set_ylim(0.6 - len(data.arms), 0.6)
    axes.axis("off")


def _range_in_words(arm: Any, usable: UsableRange) -> str:
    if np.isnan(usable.low):
        return f"{formatting.value(arm)} reaches the target nowhere"
    bound = "" if usable.low_seen and usable.high_seen else "at least "
    return f"{formatting.value(arm)} {bound}{usable.decades:.2f} decades"


def _draw_dumbbells(axes: Axes, units: pd.DataFrame, data: ResultSlice) -> None:
    """The range of each seed, arms below each other; an open end lies at an edge of the grid."""
    names = sorted(units["seed"].unique())
    middle, apart = (len(data.arms) - 1) / 2, 0.7 / max(2, len(data.arms))
    for _, unit in units.dropna(subset=["score"]).iterrows():
        arm = unit[data.compare]
        y, color = names.index(unit["seed"]) + apart * (data.arms.index(arm) - middle), data.palette[arm]
        name = f"{formatting.value(arm)}, seed {unit['seed']}"
        if np.isnan(unit["low"]):
            gid = mark_titles([f"{name}: no learning rate brings it to the target"])
            axes.plot([0.012], [y], "x", ms=4, mew=1.2, color=color, transform=axes.get_yaxis_transform(), gid=gid)
            continue
        low, high = (formatting.number(unit[edge]) for edge in ("low", "high"))
        beyond = "" if unit["low_seen"] and unit["high_seen"] else ", and past the grid"
        gid = mark_titles([f"{name}: works from {low} to {high}{beyond}"])
        axes.plot([unit["low"], unit["high"]], [y, y], lw=1.2, color=color, gid=gid)
        for edge in ("low", "high"):
            face = color if unit[f"{edge}_seen"] else "white"
            axes.plot([unit[edge]], [y], "o", ms=3.6, mec=color, mfc=face, gid=gid)
    axes.set_yticks(range(len(names)), [str(seed) for seed in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_ylabel("seed")


def failure_map(results: Results) -> Iterator[ReportFigure]:
    """Arms at grid points by learning rates: how many of the trials that ended failed to train, and how."""
    trials = results.trials[results.trials["status"].isin(FINISHED)]
    data = ResultSlice(results=results, trials=trials)
    if not over_lr(data.manifest) or trials.empty:
        return
    rows = [
        (", ".join(filter(None, [formatting.value(arm), formatting.point(point)])), at[at[data.compare] == arm])
        for point, at in pairing.by_point(trials, pairing.axes(data.manifest, "lr"))
        for arm in data.arms
    ]
    shown, lrs = rows[:MAX_MAP_ROWS], pairing.values(data.manifest, "lr")
    is_crowded = len(lrs) > 10
    with canvas(1.4 + 0.42 * len(shown)) as figure:
        axes = figure.subplots()
        for y, (_, trials_of_row) in enumerate(shown):
            for x, lr in enumerate(lrs):
                statuses = trials_of_row.loc[trials_of_row["lr"] == lr, "status"]
                _draw_cell(axes, x, y, statuses, 6.5 if is_crowded else 8)
        axes.set_xticks(range(len(lrs)), [formatting.value(lr) for lr in lrs], rotation=45 if is_crowded else 0)
        axes.set_yticks(range(len(shown)), [label_text(name) for name, _ in shown])
        axes.set(xlim=(-0.55, len(lrs) - 0.45), ylim=(len(shown) - 0.45, -0.55), xlabel="learning rate")
        axes.set_ylabel(label_text(formatting.axis(data.compare)))
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for status, grey in GREY_OF_FAILURE.items():
            axes.bar(0, 0, color=grey, label=status.replace("_", " "))
    yield report_figure(
        data,
        figure,
        name="failures",
        title="Where does training fail?",
        caption=(
            "Trials that failed to train, of those that ended: nonfinite, the loss became infinite or NaN; no better "
            "than init, the training loss ended no lower than it began. A bar as wide as its cell: all of them."
        ),
        alt=_alt_of_map(rows),
        shown=(len(shown), len(rows), "rows, all are in trials.csv"),
    )


def _draw_cell(axes: Axes, x: int, y: int, statuses: "pd.Series[str]", size: float) -> None:
    """How many failed, in figures, and below it a bar of their share by how they failed."""
    if statuses.empty:
        return
    axes.barh(y + 0.2, CELL, height=0.26, left=x - CELL / 2, color="#e9e9e9")
    left, failed = x - CELL / 2, 0
    for status, grey in GREY_OF_FAILURE.items():
        count = int((statuses == status).sum())
        width = CELL * count / len(statuses)
        axes.barh(y + 0.2, width, height=0.26, left=left, color=grey)
        left, failed = left + width, failed + count
    weight, ink = ("bold", "#000000") if failed else ("normal", "#767676")
    axes.text(x, y - 0.14, f"{failed}/{len(statuses)}", ha="center", va="center", size=size, weight=weight, color=ink)


def _alt_of_map(rows: list[tuple[str, pd.DataFrame]]) -> str:
    failed = [
        f"{name} at lr {formatting.value(lr)}"
        for name, trials in rows
        for lr, trials_at_lr in trials.groupby("lr")
        if trials_at_lr["status"].isin(FAILED).all()
    ]
    if not failed:
        return "Map of failures by arm and learning rate. Nowhere do all seeds fail."
    more = f" and {len(failed) - MAX_FAILED_IN_ALT} more" if len(failed) > MAX_FAILED_IN_ALT else ""
    listed = formatting.listing(failed[:MAX_FAILED_IN_ALT])
    return f"Map of failures by arm and learning rate. All seeds fail for: {listed}{more}."
