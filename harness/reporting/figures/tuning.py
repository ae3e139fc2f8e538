"""What is tuning worth? The expected score of the best of k learning rates, and each arm at its best."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from harness.analysis import formatting, pairing
from harness.analysis.metrics import score_words
from harness.analysis.stats import best_of_k_band, cross_fitted
from harness.reporting.figures.frame import (
    ReportFigure,
    canvas,
    color_of,
    counted,
    label_text,
    legend,
    line_of,
    over_lr,
    points_of,
    setting,
)
from harness.spec.manifest import Manifest
from harness.storage.tables import Results

METRIC = "test_accuracy"
MOST_LETTERS = 12  # of all arms' names that stand upright beside each other

Array = NDArray[np.float64]


def best_of_k(results: Results) -> Iterator[ReportFigure]:
    """Over k the expected accuracy of the best of k learning rates; beside it every seed at the lr chosen for it."""
    manifest = results.manifest
    if not over_lr(manifest):
        return
    rng = np.random.default_rng(0)  # resamples of seeds: the same every time
    for suffix, where, trials in points_of(results, "lr"):
        scores = _scores(trials, manifest)
        if not scores:
            continue
        with canvas(3.2) as figure:
            left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
            means = {arm: _curve(left, arm, scores[arm], manifest, rng) for arm in scores}
            tuned = _pairs(right, scores, manifest)
            left.set(xlabel="learning rates tried, k", ylabel="test accuracy of the best")
            left.xaxis.get_major_locator().set_params(integer=True)
            legend(figure, [left], manifest.compare)
        first = next(iter(scores.values()))[0]
        rises = (f"{formatting.value(arm)} {_rise(mean, tuned[arm])}" for arm, mean in means.items())
        yield ReportFigure(
            name=f"best_of_k{suffix}",
            title="What is tuning worth?" + (f" ({where})" if where else ""),
            figure=figure,
            caption=(
                f"Left, the expected test accuracy of the best of k learning rates drawn from the "
                f"{len(first.columns)} of the grid, where validation accuracy of the other seeds says which is best "
                f"(Dodge et al. 2019); bands are pointwise 95 % bootstrap intervals over seeds that choose again in "
                f"each resample. Right, all learning rates tried: every seed a dot, a thin line for each pair of equal "
                f"seed, a bar for the mean. n = {_counts(scores)}; seeds without a result at some lr are left out; no "
                f"test is made here, those of the claims stand above. {counted(trials, manifest)} "
                f"{score_words(METRIC)} {setting(results)}"
            ),
            alt=(
                f"Rising curves of expected accuracy over the number of learning rates tried, by arm. From one to all: "
                f"{formatting.listing(rises)}."
            ),
        )


Scores = tuple[pd.DataFrame, pd.DataFrame]  # validation and test, [seed, lr]


def _scores(trials: pd.DataFrame, manifest: Manifest) -> dict[Any, Scores]:
    """Per arm the scores of the seeds that have a result at every lr; without arms that have fewer than two."""
    found = {}
    for arm in pairing.arms(manifest):
        mine = trials[trials[manifest.compare] == arm]
        validation, test = (
            pairing.score_units(mine, metric).pivot(index="seed", columns="lr", values="score")
            for metric in ("val_accuracy", METRIC)
        )
        whole = (validation.notna() & test.notna()).all(axis=1)
        if whole.sum() >= 2 and len(test.columns) >= 2:
            found[arm] = validation[whole], test[whole]
    return found


def _curve(axes: Axes, arm: Any, scores: Scores, manifest: Manifest, rng: np.random.Generator) -> Array:
    """Draw one arm's curve with its band; its mean over seeds."""
    validation, test = (table.to_numpy("float64") for table in scores)
    mean, low, high = best_of_k_band(validation, test, rng)
    k, look = np.arange(1, len(mean) + 1), line_of(arm, pairing.arms(manifest))
    axes.fill_between(k, low, high, alpha=0.2, lw=0, color=look["color"])
    axes.plot(k, mean, marker="o", ms=3, lw=1.6, label=label_text(arm), **look)
    return mean


def _pairs(axes: Axes, scores: Mapping[Any, Scores], manifest: Manifest) -> dict[Any, float]:
    """Draw every seed of every arm at the lr that is chosen for it; the means."""
    arms = pairing.arms(manifest)
    tuned = pd.DataFrame(
        {
            arms.index(arm): pd.Series(cross_fitted(*(t.to_numpy("float64") for t in pair)), index=pair[1].index)
            for arm, pair in scores.items()
        }
    )
    for _, row in tuned.iterrows():
        axes.plot(tuned.columns, row, lw=0.6, color="#9a9a9a", zorder=1)
    means = {arm: float(tuned[arms.index(arm)].mean()) for arm in scores}
    for arm, mean in means.items():
        place, tint = arms.index(arm), color_of(arm, arms)
        axes.plot(np.full(len(tuned), place), tuned[place], "o", ms=3.6, mew=0, alpha=0.7, color=tint)
        axes.plot([place - 0.25, place + 0.25], [mean, mean], lw=2, color=tint)
    names = [label_text(arm) for arm in arms]
    crowded = sum(map(len, names)) > MOST_LETTERS
    axes.set_xticks(range(len(arms)), names, rotation=90 if crowded else 0)
    axes.set_xlim(-0.5, len(arms) - 0.5)
    return means


def _counts(scores: Mapping[Any, Scores]) -> str:
    return formatting.listing(
        f"{formatting.count(len(test), 'seed')} of {formatting.value(arm)}" for arm, (_, test) in scores.items()
    )


def _rise(mean: Array, tuned: float) -> str:
    return f"{formatting.percent(float(mean[0]))} to {formatting.percent(tuned)}"
