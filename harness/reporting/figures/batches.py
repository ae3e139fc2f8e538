"""How does it depend on the batch size? Error over batch size, and the gap between arms with a slope per seed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.analysis import formatting, pairing
from harness.analysis.claims import slopes as trend_comparisons
from harness.analysis.comparison import Comparison, adjusted
from harness.analysis.metrics import FAILED, score_words
from harness.analysis.stats import mean_interval, seeds_needed, slopes
from harness.reporting.figures.curves import telling_lrs
from harness.reporting.figures.frame import (
    ReportFigure,
    baseline_arm,
    canvas,
    chance,
    color_of,
    counted,
    label_text,
    legend,
    line_of,
    over_lr,
    points_of,
    seeds,
    setting,
)
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest
from harness.storage.tables import Results

METRIC = "test_accuracy"
MOST_LRS = 2  # that get a picture; the map has all of them


def over_batch_size(results: Results) -> Iterator[ReportFigure]:
    """Error of every seed over the batch size, and below it the gap between arms with a slope for each seed."""
    manifest = results.manifest
    if not has_batch_sizes(manifest):
        return
    than = baseline_arm(manifest)
    for suffix, where, trials in _points(results):
        gaps = {arm: _gaps(trials, manifest, arm, than) for arm in pairing.arms(manifest) if arm != than}
        if pairing.score_units(trials, METRIC)["score"].isna().all():
            continue
        with canvas(5.4) as figure:
            top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.25, 1])
            _errors(top, trials, manifest)
            said = [_gap(bottom, gap, arm, manifest) for arm, gap in gaps.items() if not gap.empty]
            _log_sizes(bottom, pairing.values(manifest, "batch_size"))
            bottom.axhline(0, lw=0.8, color="#808080")
            bottom.set_ylabel(f"points against {label_text(than)}")
            legend(figure, [top], manifest.compare)
        name = f"batch_size{suffix}"
        yield ReportFigure(
            name=name,
            title="How does it depend on the batch size?" + (f" ({where})" if where else ""),
            figure=figure,
            caption=(
                f"Above, the test error: every seed is a dot, a failed one a cross, the line is their mean. Below, the "
                f"paired difference in accuracy from {formatting.value(than)}: dots are means, thin lines the "
                f"least-squares "
                f"slope of each seed with results at all sizes. {_listed(said)}{_rule(manifest)}{seeds(trials)} "
                f"{counted(trials, manifest)} {score_words(METRIC)} {setting(results)}"
            ),
            alt=(
                f"Two stacked panels over batch size: test error by arm, and the gap to {formatting.value(than)}. "
                f"{_listed(said) or 'No pairs to compare yet.'}"
            ).strip(),
            comparisons=_slopes(trials, manifest, name),
        )


def _slopes(trials: pd.DataFrame, manifest: Manifest, name: str) -> tuple[Comparison, ...]:
    """The slopes that the caption gives, as rows of comparisons.csv."""
    than, rng = baseline_arm(manifest), np.random.default_rng(0)  # signs of sign-flip tests above 20 seeds
    claims = [Claim.trend(arm, than=than, along="batch_size") for arm in pairing.arms(manifest) if arm != than]
    found = [comparison for claim in claims for comparison in trend_comparisons(claim, trials, manifest, rng)]
    return tuple(replace(comparison, shown_in=name) for comparison in adjusted(found))


def _points(results: Results) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """The grid points but for the batch size, each at a few learning rates where these are an axis."""
    if not over_lr(results.manifest):
        yield from points_of(results, "batch_size")
        return
    for suffix, where, trials in points_of(results, "batch_size", "lr"):
        for number, lr in enumerate(telling_lrs(trials, results.manifest, MOST_LRS), start=1):
            at = ", ".join(filter(None, [formatting.point({"lr": lr}), where]))
            yield f"{suffix}_{number}", at, trials[trials["lr"] == lr]


def has_batch_sizes(manifest: Manifest) -> bool:
    """Whether the suite has an axis of batch sizes to draw along: not where these are the arms."""
    return "batch_size" in manifest.axes and manifest.compare != "batch_size"


def _listed(said: Sequence[str]) -> str:
    return f"Mean slope: {formatting.listing(said)}. " if said else ""


def _rule(manifest: Manifest) -> str:
    """How the learning rate goes with the batch size: a comparison of batch sizes means nothing without."""
    if "lr" in manifest.following:
        return "The learning rate follows the batch size, by a rule of the suite. "
    return (
        ""
        if "lr" in manifest.axes
        else f"The learning rate is {formatting.value(manifest.settings.get('lr'))} at all. "
    )


def _gaps(trials: pd.DataFrame, manifest: Manifest, arm: Any, than: Any) -> pd.DataFrame:
    """Paired differences in points: a row for each seed, a column for each batch size."""
    pairs = pairing.metric_pairs(trials, manifest, arm, than, METRIC)
    found = {
        int(pair.ours.units["batch_size"].iloc[0]): pd.Series(100 * pair.differences, index=pair.ours.units.index)
        for pair in pairs
        if len(pair.differences)
    }
    return pd.DataFrame(found).sort_index(axis=1)


def _errors(axes: Axes, trials: pd.DataFrame, manifest: Manifest) -> None:
    arms = pairing.arms(manifest)
    scored = pairing.score_units(trials, METRIC).dropna(subset=["score"])
    scored = scored.assign(error=100 * (1 - scored["score"]))
    for index, arm in enumerate(arms):
        mine = scored[scored[manifest.compare] == arm].sort_values("batch_size")
        if mine.empty:
            continue
        beside = 2 ** (0.12 * (index - (len(arms) - 1) / 2))  # arms side by side: neither hides the other
        failed = mine["status"].isin(FAILED)
        for rows, mark, size in ((mine[~failed], "o", 3.2), (mine[failed], "x", 4.5)):
            x = rows["batch_size"].astype("float64") * beside
            axes.plot(x, rows["error"], mark, ms=size, mew=float(mark == "x"), alpha=0.6, color=color_of(arm, arms))
        mean = mine.groupby("batch_size")["error"].mean()
        axes.plot(mean.index.astype("float64"), mean, lw=1.6, label=label_text(arm), **line_of(arm, arms))
    worst = 100 * (1 - chance(trials))
    if scored["error"].max() > 0.9 * worst:  # else it would only squeeze what there is to see
        axes.axhline(worst, ls=":", lw=1, color="#808080")
    axes.set_ylabel("test error in %")


def _gap(axes: Axes, gaps: pd.DataFrame, arm: Any, manifest: Manifest) -> str:
    """Draw the gap of one arm; its mean slope in words."""
    tint, whole = color_of(arm, pairing.arms(manifest)), gaps.dropna()
    sizes = gaps.columns.to_numpy("float64")
    for size in sizes:
        values = gaps[size]
        mean, low, high = mean_interval(values.dropna().to_numpy("float64"))
        axes.plot([size], [mean], "o", ms=5.5, color=tint)
        if values.notna().sum() >= seeds_needed():
            axes.plot([size, size], [low, high], lw=1.6, color=tint)
    if len(sizes) < 2 or whole.empty:
        return f"{formatting.value(arm)} unknown"
    x, y = np.log2(sizes), whole.to_numpy("float64")
    steep = slopes(x, y)
    for slope, level in zip(steep, y.mean(axis=1), strict=True):
        axes.plot(sizes, level + slope * (x - x.mean()), lw=0.7, alpha=0.45, color=tint)
    mean, low, high = mean_interval(steep)
    enough = len(steep) >= seeds_needed()
    ends = f" (95 % t interval {formatting.number(low)} to {formatting.number(high)})" if enough else " (descriptive)"
    return f"{formatting.value(arm)} {formatting.number(mean)} points for each doubling{ends}"


def _log_sizes(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [formatting.value(size) for size in sizes])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("batch size")
