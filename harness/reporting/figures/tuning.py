"""What is tuning worth? The expected score of the best of k learning rates, and each arm at its best."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from harness.analysis import formatting, pairing
from harness.analysis.measures.measure import Measure
from harness.analysis.stats import best_of_k_band, cross_fitted
from harness.analysis.validation import over_lr
from harness.reporting.figures.drawing import canvas, score_axis, seeds_over_columns
from harness.reporting.figures.frame import UNTESTED, ReportFigure, ResultSlice, points_of, report_figure
from harness.reporting.figures.style import label_text
from harness.storage.tables import Results

MAX_UPRIGHT_LETTERS = 12  # of all arms' names beside each other

Scores = tuple[pd.DataFrame, pd.DataFrame]  # validation and test, [seed, lr]


def best_of_k_curve(results: Results) -> Iterator[ReportFigure]:
    """Over k the expected score of the best of k learning rates; beside it every seed at the lr chosen for it."""
    if not over_lr(results.manifest):
        return
    rng = np.random.default_rng(0)  # resamples of seeds: the same every time
    for data in points_of(results, "lr"):
        every_arm = {arm: scores_by_lr(rows, data) for arm, rows in data.by_arm(data.trials)}
        scores = {arm: pair for arm, pair in every_arm.items() if min(pair[1].shape) >= 2}
        if not scores:
            continue
        metric = data.metric
        tuned = pd.DataFrame({arm: tuned_scores(pair, metric) for arm, pair in scores.items()})
        with canvas(3.2, data.compare) as figure:
            left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
            expected = {arm: _draw_curve(left, data, arm, scores[arm], rng) for arm in scores}
            _draw_tuned(right, data, tuned)
            score_axis(left, np.concatenate([np.ravel(tuned), *expected.values()]), metric)
            left.set(xlabel="learning rates tried, k", ylabel=f"{metric.axis_words} of the best")
            left.xaxis.get_major_locator().set_params(integer=True)
        _, test = next(iter(scores.values()))
        rises = (
            f"{formatting.value(arm)} {_rise(mean[0], tuned[arm].mean(), metric)}" for arm, mean in expected.items()
        )
        yield report_figure(
            data,
            figure,
            name="best_of_k",
            title="What is tuning worth?",
            caption=(
                f"Left, the expected {metric.words} of the best of k learning rates drawn from the "
                f"{len(test.columns)} of the grid, where {data.validated_by.words} of the other seeds "
                f"says which is best (Dodge et al. 2019); bands are pointwise 95 % bootstrap intervals over seeds, "
                f"with the learning rate re-chosen in every resample. Right, all learning rates tried: every seed a "
                f"dot, a thin line for each pair of equal seed, a bar for the mean."
            ),
            alt=(
                f"{'Rising' if metric.sign > 0 else 'Falling'} curves of expected {metric.bare_words} over the number "
                f"of learning rates tried, by arm. From one to all: {formatting.listing(rises)}."
            ),
            sample=f"n = {_seed_counts(scores)}, without seeds that lack a result at some lr, {UNTESTED}.",
        )


def scores_by_lr(trials: pd.DataFrame, data: ResultSlice) -> Scores:
    """The scores of one arm, of the seeds that have a result at every lr."""
    validation, test = (
        pairing.score_units(trials, metric).pivot(index="seed", columns="lr", values="score").astype("float64")
        for metric in (data.validated_by, data.metric)
    )
    is_complete = (validation.notna() & test.notna()).all(axis=1)
    return validation[is_complete], test[is_complete]


def tuned_scores(scores: Scores, metric: Measure) -> "pd.Series[float]":
    """The test score of every seed at the lr that the other seeds choose for it."""
    validation, test = (metric.sign * table.to_numpy() for table in scores)
    return pd.Series(metric.sign * cross_fitted(validation, test), index=scores[1].index)


def _draw_curve(
    axes: Axes, data: ResultSlice, arm: Any, scores: Scores, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw one arm's curve with its band; its mean over seeds."""
    sign = data.metric.sign
    validation, test = (sign * table.to_numpy() for table in scores)
    mean, low, high = (sign * curve for curve in best_of_k_band(validation, test, rng))
    k = np.arange(1, len(mean) + 1)
    axes.fill_between(k, low, high, alpha=0.2, lw=0, color=data.palette[arm])
    axes.plot(k, mean, marker="o", ms=3, lw=1.6, label=label_text(arm), **data.line(arm))
    return mean


def _draw_tuned(axes: Axes, data: ResultSlice, tuned: pd.DataFrame) -> None:
    seeds_over_columns(axes, tuned.reindex(columns=pd.Index(data.arms, dtype="object")), list(data.palette.values()))
    names = [label_text(arm) for arm in data.arms]
    is_crowded = sum(map(len, names)) > MAX_UPRIGHT_LETTERS
    axes.set_xticks(range(len(names)), names, rotation=90 if is_crowded else 0)


def _seed_counts(scores: Mapping[Any, Scores]) -> str:
    return formatting.listing(
        f"{formatting.count(len(test), 'seed')} of {formatting.value(arm)}" for arm, (_, test) in scores.items()
    )


def _rise(first: float, last: float, metric: Measure) -> str:
    return f"{formatting.level(float(first), metric.unit)} to {formatting.level(float(last), metric.unit)}"
