"""How does it depend on the batch size? Error over batch size, and the gap between arms with a slope per seed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from harness.analysis import formatting, pairing
from harness.analysis.claims.trend import compare_slopes
from harness.analysis.comparison import Comparison, adjusted
from harness.analysis.measures.measure import Measure
from harness.analysis.metrics import FAILED
from harness.analysis.stats import mean_interval, seeds_needed, slopes
from harness.analysis.validation import over_lr
from harness.reporting.figures.curves import telling_lrs
from harness.reporting.figures.drawing import (
    canvas,
    difference_label,
    guess_line,
    guess_of,
    is_near_guess,
    score_axis,
    up_is_better,
)
from harness.reporting.figures.frame import ReportFigure, ResultSlice, points_of, report_figure
from harness.reporting.figures.style import GREY, label_text
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest
from harness.spec.measured import ACCURACY
from harness.storage.tables import Results

MAX_LRS = 2  # that get a figure; the map has all of them
MIN_SIZES = 3  # through which a line for each seed says more than the means of two sizes
DODGE = 0.12  # doublings of the batch size between arms side by side


def over_batch_size(results: Results) -> Iterator[ReportFigure]:
    """Error of every seed over the batch size, and below it the gap between arms with a slope for each seed."""
    if not has_batch_sizes(results.manifest):
        return
    for data in _slices(results):
        scores = pairing.score_units(data.trials, data.metric)
        if scores["score"].isna().all() or scores["batch_size"].nunique() == 1:
            continue
        baseline = data.baseline
        with canvas(5.4, data.compare) as figure:
            top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.25, 1])
            _draw_errors(top, data)
            mean_slopes = _slopes_in_words([_draw_gap(bottom, data, arm) for arm in data.arms if arm != baseline])
            _log_sizes(bottom, pairing.values(data.manifest, "batch_size"))
            bottom.axhline(0, lw=0.8, color=GREY)
            bottom.set_ylabel(difference_label(data.metric, label_text(baseline)))
        yield report_figure(
            data,
            figure,
            name="batch_size",
            title="How does it depend on the batch size?",
            caption=(
                f"Above, the {_shown_words(data.metric)}: every seed is a dot, a failed one a cross, the line is their "
                f"mean. Below, the paired difference in {data.metric.bare_words} from {formatting.value(baseline)}"
                f"{up_is_better(data.metric)}: dots are means{_lines_in_words(data.manifest)}. "
                f"{mean_slopes}{_lr_rule(data.manifest)}"
            ).strip(),
            alt=(
                f"Two stacked panels over batch size: {_shown_words(data.metric)} by arm, and the gap to "
                f"{formatting.value(baseline)}. {mean_slopes or 'No pairs to compare yet.'}"
            ).strip(),
            comparisons=_slope_comparisons(data, f"batch_size{data.suffix}"),
        )


def _slope_comparisons(data: ResultSlice, name: str) -> tuple[Comparison, ...]:
    """The slopes that the caption gives, as rows of comparisons.csv."""
    than = data.baseline
    claims = [
        Claim.trend(arm, than=than, along="batch_size", metric=data.metric.name) for arm in data.arms if arm != than
    ]
    family = [comparison for claim in claims for comparison in compare_slopes(claim, data.trials, data.manifest)]
    return tuple(replace(comparison, shown_in=name) for comparison in adjusted(family))


def _slices(results: Results) -> Iterator[ResultSlice]:
    """The grid points but for the batch size, each at a few learning rates where these are an axis."""
    if not over_lr(results.manifest):
        yield from points_of(results, "batch_size")
        return
    for data in points_of(results, "batch_size", "lr"):
        for number, lr in enumerate(telling_lrs(data, MAX_LRS), start=1):
            yield replace(
                data,
                trials=data.trials[data.trials["lr"] == lr],
                point=", ".join(filter(None, [formatting.point({"lr": lr}), data.point])),
                suffix=f"{data.suffix}_{number}",
            )


def has_batch_sizes(manifest: Manifest) -> bool:
    """Whether the suite has an axis of batch sizes to draw along: not where these are the arms."""
    return "batch_size" in manifest.axes and manifest.compare != "batch_size"


def _lines_in_words(manifest: Manifest) -> str:
    if len(pairing.values(manifest, "batch_size")) < MIN_SIZES:
        return ", a line joins those of an arm"
    return ", thin lines the least-squares slope of each seed with results at all sizes"


def _slopes_in_words(mean_slopes: Sequence[str]) -> str:
    known = [slope for slope in mean_slopes if slope]
    return f"Mean slope: {formatting.listing(known)}. " if known else ""


def _lr_rule(manifest: Manifest) -> str:
    """How the learning rate goes with the batch size: a comparison of batch sizes means nothing without."""
    if "lr" in manifest.following:
        return "The learning rate follows the batch size, by a rule of the suite."
    return "" if "lr" in manifest.axes else f"The learning rate is {formatting.value(manifest.settings.get('lr'))}."


def score_in_units(data: ResultSlice, arm: Any, *axes: str) -> "pd.Series[float]":
    """The score of an arm in its unit, by axes and seed; differences of two arms are then paired."""
    scored = pairing.score_units(data.trials[data.trials[data.compare] == arm], data.metric)
    return data.metric.unit.factor * scored.set_index([*axes, "seed"])["score"]


def _is_accuracy(metric: Measure) -> bool:
    """Whether what is missing to 1 is an error, which shows more where it is small."""
    return metric.name == f"test_{ACCURACY}"


def _shown_words(metric: Measure) -> str:
    return "test error" if _is_accuracy(metric) else metric.words


def _draw_errors(axes: Axes, data: ResultSlice) -> None:
    metric = data.metric

    def shown(score: Any) -> Any:
        return 100 * (1 - score) if _is_accuracy(metric) else score

    scored = pairing.score_units(data.trials, metric).dropna(subset=["score"])
    size, arm_index = scored["batch_size"].astype("float64"), scored[data.compare].map(data.arms.index)
    scored = scored.assign(
        shown=shown(scored["score"]),
        x=size * 2 ** _dodge(data, arm_index),
        has_failed=scored["status"].isin(FAILED),
    )
    look = {"hue": data.compare, "hue_order": data.arms, "palette": data.palette, "alpha": 0.6, "linewidth": 0}
    marks = {"style": "has_failed", "markers": {False: "o", True: "X"}, "size": "has_failed"}
    sns.scatterplot(scored, x="x", y="shown", **look, **marks, sizes={False: 11, True: 20}, legend=False, ax=axes)
    for arm, rows in data.by_arm(scored):
        mean = rows.groupby("batch_size")["shown"].mean()
        axes.plot(mean.index.astype("float64"), mean, lw=1.6, label=label_text(arm), **data.line(arm))
    guess = guess_of(data.trials, metric)
    # Else the line would only squeeze what there is to see.
    is_near = (
        scored["shown"].max() > 0.9 * shown(guess)
        if _is_accuracy(metric)
        else is_near_guess(scored["score"], guess, metric)
    )
    if is_near:
        guess_line(axes, shown(guess))
    if not _is_accuracy(metric):
        score_axis(axes, scored["score"], metric)
    axes.set_ylabel("test error in %" if _is_accuracy(metric) else metric.axis_words)


def _dodge(data: ResultSlice, index: Any) -> Any:
    """How many doublings of the batch size an arm stands beside its place, where it hides no other arm."""
    return DODGE * (index - (len(data.arms) - 1) / 2)


def _draw_gap(axes: Axes, data: ResultSlice, arm: Any) -> str:
    """Draw the gap of one arm; its mean slope in words, empty where there are no pairs."""
    ours, theirs = (score_in_units(data, name, "batch_size") for name in (arm, data.baseline))
    gaps, color = (
        (data.metric.sign * (ours - theirs)).dropna().unstack("batch_size").sort_index(axis=1),
        data.palette[arm],
    )
    sizes = gaps.columns.to_numpy("float64")
    beside = sizes * 2 ** _dodge(data, data.arms.index(arm))
    means = []
    for place, (_, differences) in zip(beside, gaps.items(), strict=True):
        mean, low, high = mean_interval(differences.dropna().to_numpy("float64"))
        means.append(mean)
        axes.plot([place], [mean], "o", ms=5.5, color=color)
        if differences.notna().sum() >= seeds_needed():
            axes.plot([place, place], [low, high], lw=1.6, color=color)
    complete = gaps.dropna()
    if gaps.empty:
        return ""
    if len(sizes) < 2 or complete.empty:
        return f"{formatting.value(arm)} unknown"
    x, y = np.log2(sizes), complete.to_numpy("float64")
    slope_of_seed = slopes(x, y)
    if len(pairing.values(data.manifest, "batch_size")) < MIN_SIZES:
        axes.plot(beside, means, lw=1.0, color=color)
    else:
        for slope, level in zip(slope_of_seed, y.mean(axis=1), strict=True):
            axes.plot(sizes, level + slope * (x - x.mean()), lw=0.7, alpha=0.45, color=color)
    mean, low, high = mean_interval(slope_of_seed)
    unit = formatting.PLAIN.fitted(low, high)  # the scores are in that of the metric already
    interval = f" (95 % t interval {formatting.span(low, high, unit)})"
    is_enough = len(slope_of_seed) >= seeds_needed()
    return (
        f"{formatting.value(arm)} {formatting.format_value(mean, unit)}{_unit_words(data.metric)} for each doubling"
        f"{interval if is_enough else ' (descriptive)'}"
    )


def _unit_words(metric: Measure) -> str:
    return f" {metric.unit.name}" if metric.unit.name else ""


def _log_sizes(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [formatting.value(size) for size in sizes])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("batch size")
