"""Which learning rates work: the usable range of each arm, and where trials fail."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.analysis import formatting, pairing
from harness.analysis.metrics import FAILED, FINISHED, score_words
from harness.analysis.stats import UsableRange, usable_range
from harness.reporting.figures.frame import (
    ReportFigure,
    canvas,
    color_of,
    counted,
    label_text,
    legend,
    line_of,
    log_lr,
    over_lr,
    points_of,
    seeds,
    setting,
)
from harness.spec.manifest import Manifest
from harness.storage.tables import Results

MOST_ROWS = 24  # of the map of failures: arms at grid points
GREYS = dict(zip(FAILED, ("#2b2b2b", "#a3a3a3"), strict=True))  # how a trial failed; colours are for arms


def usable_ranges(results: Results) -> Iterator[ReportFigure]:
    """Mean accuracy over lr with a bracket for each arm; below, the edges of each seed."""
    manifest = results.manifest
    if not over_lr(manifest) or manifest.target_accuracy is None:
        return
    for suffix, where, trials in points_of(results, "lr"):
        units = pairing.range_units(trials, manifest)
        if units["score"].isna().all():
            continue
        arms = pairing.arms(manifest)
        with canvas(3.4 + 0.12 * len(arms) + max(1.2, 0.07 * len(arms) * units["seed"].nunique())) as figure:
            ratios = [0.12 * len(arms), 2.4, max(1.2, 0.07 * len(arms) * units["seed"].nunique())]
            strip, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=ratios)
            brackets = _brackets(strip, _mean_curves(middle, trials, manifest), arms)
            _dumbbells(bottom, units, manifest)
            log_lr(bottom, pairing.values(manifest, "lr"))
            legend(figure, [middle], manifest.compare)
        yield ReportFigure(
            name=f"lr_range{suffix}",
            title="How wide is the usable range of learning rates?" + (f" ({where})" if where else ""),
            figure=figure,
            caption=(
                f"In the middle, the mean test accuracy of each arm; above it, a bracket spans where that reaches "
                f"{formatting.percent(manifest.target_accuracy)} (dashed), by linear interpolation over log "
                f"lr. Below, the "
                f"same for every seed: an open end lies beyond the learning rates tried, so that the range is a lower "
                f"bound, and a cross marks a seed that no learning rate brings to the target. {seeds(trials)} "
                f"{counted(trials, manifest)} {score_words('test_accuracy')} {setting(results)}"
            ),
            alt=f"Accuracy over learning rate by arm, with the usable ranges: {formatting.listing(brackets)}.",
        )


def _mean_curves(axes: Axes, trials: pd.DataFrame, manifest: Manifest) -> dict[Any, UsableRange]:
    """Draw each arm's mean; the range over which it reaches the target."""
    arms, target, found = pairing.arms(manifest), manifest.target_accuracy, {}
    assert target is not None, "without a target there is no picture of ranges"
    scored = pairing.score_units(trials, "test_accuracy").dropna(subset=["score"])
    for arm in arms:
        mean = scored[scored[manifest.compare] == arm].groupby("lr")["score"].mean()
        if mean.empty:
            continue
        lrs, accuracy = mean.index.to_numpy("float64"), mean.to_numpy("float64")
        axes.plot(lrs, accuracy, marker="o", ms=3.5, lw=1.6, label=label_text(arm), **line_of(arm, arms))
        found[arm] = usable_range(lrs, accuracy, target)
    axes.axhline(target, ls="--", lw=1, color="#808080")
    axes.set_ylabel("mean test accuracy")
    return found


def _brackets(axes: Axes, found: dict[Any, UsableRange], arms: list[Any]) -> list[str]:
    """Draw the range of each arm's mean, one above the other; the same in words."""
    said = []
    for index, (arm, its) in enumerate(found.items()):
        if np.isnan(its.low):
            said.append(f"{formatting.value(arm)} reaches the target nowhere")
            continue
        tint, y = color_of(arm, arms), -index
        axes.plot([its.low, its.high], [y, y], lw=2, color=tint)
        for edge, seen, beyond in ((its.low, its.low_seen, "<"), (its.high, its.high_seen, ">")):
            axes.plot([edge], [y], "|" if seen else beyond, ms=7 if seen else 5, mew=2 if seen else 1, color=tint)
        bound = "" if its.low_seen and its.high_seen else "at least "
        said.append(f"{formatting.value(arm)} {bound}{its.decades:.2f} decades")
    axes.set_ylim(0.6 - len(arms), 0.6)
    axes.axis("off")
    return said


def _dumbbells(axes: Axes, units: pd.DataFrame, manifest: Manifest) -> None:
    arms, compare = pairing.arms(manifest), manifest.compare
    names = sorted(units["seed"].unique())
    for _, unit in units.dropna(subset=["score"]).iterrows():
        index = arms.index(unit[compare])
        y = names.index(unit["seed"]) + 0.7 * (index - (len(arms) - 1) / 2) / max(2, len(arms))
        tint = color_of(unit[compare], arms)
        if np.isnan(unit["low"]):
            axes.plot([0.012], [y], "x", ms=4, mew=1.2, color=tint, transform=axes.get_yaxis_transform())
            continue
        axes.plot([unit["low"], unit["high"]], [y, y], lw=1.2, color=tint)
        for edge, seen in ((unit["low"], unit["low_seen"]), (unit["high"], unit["high_seen"])):
            axes.plot([edge], [y], "o", ms=3.6, mec=tint, mfc=tint if seen else "white")
    axes.set_yticks(range(len(names)), [str(seed) for seed in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_ylabel("seed")


def failure_map(results: Results) -> Iterator[ReportFigure]:
    """Arms at grid points by learning rates: how many of the trials that ended failed to train, and how."""
    manifest = results.manifest
    trials = results.trials[results.trials["status"].isin(FINISHED)]
    if not over_lr(manifest) or trials.empty:
        return
    rows = [
        (", ".join(filter(None, [formatting.value(arm), formatting.point(point)])), here[here[manifest.compare] == arm])
        for point, here in pairing.by_point(trials, pairing.axes(manifest, "lr"))
        for arm in pairing.arms(manifest)
    ]
    shown, lrs = rows[:MOST_ROWS], pairing.values(manifest, "lr")
    with canvas(1.4 + 0.42 * len(shown)) as figure:
        axes = figure.subplots()
        for y, (_, mine) in enumerate(shown):
            for x, lr in enumerate(lrs):
                _cell(axes, (x, y), mine.loc[mine["lr"] == lr, "status"], 8 if len(lrs) <= 10 else 6.5)
        axes.set_xticks(range(len(lrs)), [formatting.value(lr) for lr in lrs], rotation=0 if len(lrs) <= 10 else 45)
        axes.set_yticks(range(len(shown)), [label_text(name) for name, _ in shown])
        axes.set(xlim=(-0.55, len(lrs) - 0.45), ylim=(len(shown) - 0.45, -0.55), xlabel="learning rate")
        axes.set_ylabel(label_text(manifest.compare))
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for status, grey in GREYS.items():
            axes.bar(0, 0, color=grey, label=status.replace("_", " "))
        legend(figure, [axes])
    left_out = f"Shown: {len(shown)} of {len(rows)} rows, all are in trials.csv. " if len(rows) > len(shown) else ""
    yield ReportFigure(
        name="failures",
        title="Where does training fail?",
        figure=figure,
        caption=(
            f"Trials that failed to train, of those that ended: nonfinite, the loss became infinite or NaN; no better "
            f"than init, the training loss ended no lower than it began. A bar as wide as its cell: all of them. "
            f"{left_out}{seeds(trials)} {counted(trials, manifest)} {setting(results)}"
        ),
        alt=_alt(rows),
    )


def _cell(axes: Axes, at: tuple[int, int], statuses: "pd.Series[str]", size: float) -> None:
    """How many failed, in figures, and below it a bar of their share by how they failed."""
    if statuses.empty:
        return
    x, y = at
    axes.barh(y + 0.2, 0.9, height=0.26, left=x - 0.45, color="#e9e9e9")
    left, failed = x - 0.45, 0
    for status, grey in GREYS.items():
        count = int((statuses == status).sum())
        width = 0.9 * count / len(statuses)
        axes.barh(y + 0.2, width, height=0.26, left=left, color=grey)
        left, failed = left + width, failed + count
    weight, ink = ("bold", "#000000") if failed else ("normal", "#767676")
    axes.text(x, y - 0.14, f"{failed}/{len(statuses)}", ha="center", va="center", size=size, weight=weight, color=ink)


def _alt(rows: list[tuple[str, pd.DataFrame]]) -> str:
    worst = [
        f"{name} at lr {formatting.value(lr)}"
        for name, mine in rows
        for lr, here in mine.groupby("lr")
        if here["status"].isin(FAILED).all()
    ]
    more = f" and {len(worst) - 12} more" if len(worst) > 12 else ""
    return f"Map of failures by arm and learning rate. All seeds fail for: {formatting.listing(worst[:12])}{more}."
