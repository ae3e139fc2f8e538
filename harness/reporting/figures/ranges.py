"""Which learning rates work: the usable range of each arm, and where trials fail."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from harness.reporting import grid, words
from harness.reporting.figures.picture import Picture, canvas, colour, counted, log_lr, points_of, safe, setting
from harness.reporting.metrics import FAILED, FINISHED, score_words
from harness.reporting.stats import usable_range
from harness.store import Results


def usable_ranges(results: Results) -> Iterator[Picture]:
    """Mean accuracy over lr with a bracket for each arm; below, the edges of each seed."""
    suite = results.suite
    if "lr" not in suite["axes"] or suite["target_accuracy"] is None:
        return
    for suffix, where, trials in points_of(results, "lr"):
        units = grid.range_units(trials, suite)
        if units["score"].isna().all():
            continue
        with canvas(5.0) as figure:
            top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.2, 1])
            brackets = _mean_curves(top, trials, suite)
            _dumbbells(bottom, units, suite)
            log_lr(bottom, grid.values(suite, "lr"))
        yield Picture(
            name=f"lr_range{suffix}",
            title="How wide is the usable range of learning rates?" + (f" ({where})" if where else ""),
            figure=figure,
            caption=(
                f"Above, the mean test accuracy; a bracket spans where it reaches "
                f"{words.percent(suite['target_accuracy'])}, by linear interpolation over log lr. Below, the same "
                f"for every seed; an open end lies beyond the learning rates tried, its range being a lower bound. "
                f"{counted(trials, suite)} "
                f"{score_words('test_accuracy')} {setting(results)}"
            ),
            alt=f"Accuracy over learning rate by arm with the usable ranges: {words.listing(brackets)}.",
        )


def _mean_curves(axes: Axes, trials: pd.DataFrame, suite: Any) -> list[str]:
    """Draw each arm's mean and bracket; the brackets in words."""
    arms, target, said = grid.arms(suite), suite["target_accuracy"], []
    scored = grid.score_units(trials, "test_accuracy").dropna(subset=["score"])
    for index, arm in enumerate(arms):
        mean = scored[scored[suite["compare"]] == arm].groupby("lr")["score"].mean()
        if mean.empty:
            continue
        lrs, accuracy = mean.index.to_numpy("float64"), mean.to_numpy("float64")
        tint = colour(arm, arms)
        axes.plot(lrs, accuracy, "-o", ms=3.5, lw=1.6, color=tint, label=safe(arm))
        found = usable_range(lrs, accuracy, target)
        y = 1.03 + 0.05 * index
        if found.decades > 0 or not np.isnan(found.low):
            axes.plot([found.low, found.high], [y, y], lw=2, color=tint)
            for edge, seen, marker in ((found.low, found.low_seen, "<"), (found.high, found.high_seen, ">")):
                axes.plot([edge], [y], "|" if seen else marker, ms=8 if seen else 6, mew=2 if seen else 1, color=tint)
        bound = "" if found.low_seen and found.high_seen else "at least "
        said.append(f"{words.value(arm)} {bound}{found.decades:.2f} decades")
    axes.axhline(target, ls="--", lw=1, color="#808080")
    axes.set_ylabel("mean test accuracy")
    axes.legend(title=safe(suite["compare"]), loc="lower left")
    return said


def _dumbbells(axes: Axes, units: pd.DataFrame, suite: Any) -> None:
    arms, compare = grid.arms(suite), suite["compare"]
    seeds = sorted(units["seed"].unique())
    for _, unit in units.dropna(subset=["low"]).iterrows():
        index = arms.index(unit[compare])
        y = seeds.index(unit["seed"]) + 0.3 * (index - (len(arms) - 1) / 2) / max(1, len(arms) - 1)
        tint = colour(unit[compare], arms)
        axes.plot([unit["low"], unit["high"]], [y, y], lw=1.2, color=tint)
        for edge, seen in ((unit["low"], unit["low_seen"]), (unit["high"], unit["high_seen"])):
            axes.plot([edge], [y], "o", ms=4.5, mec=tint, mfc=tint if seen else "white")
    axes.set_yticks(range(len(seeds)), [str(seed) for seed in seeds])
    axes.set_ylabel("seed")


def failure_map(results: Results) -> Iterator[Picture]:
    """Arms by learning rates: how many of the trials that ended failed to train."""
    suite = results.suite
    trials = results.trials[results.trials["status"].isin(FINISHED)]
    if "lr" not in suite["axes"] or trials.empty:
        return
    arm = trials[suite["compare"]].map(words.value)
    failed = trials["status"].isin(FAILED)
    order = [name for name in map(words.value, grid.arms(suite)) if name in set(arm)]
    share = pd.crosstab(arm, trials["lr"], failed.astype(float), aggfunc="mean").reindex(index=order)
    count = pd.crosstab(arm, trials["lr"], failed.astype(float), aggfunc="sum").reindex(index=order)
    of = pd.crosstab(arm, trials["lr"]).reindex(index=order)
    text = [
        [f"{failed:.0f}\nof {tried:.0f}" for failed, tried in zip(*row, strict=True)]
        for row in zip(count.to_numpy(), of.to_numpy(), strict=True)
    ]
    with canvas(1.3 + 0.55 * len(order)) as figure:
        axes = figure.subplots()
        labels = [words.value(lr) for lr in share.columns]
        sns.heatmap(
            share, annot=np.array(text), fmt="", vmin=0, vmax=1, cmap="Greys", ax=axes, linewidths=1,
            annot_kws={"size": 7}, xticklabels=labels, cbar_kws={"label": "share that failed"},
        )  # fmt: skip
        axes.set_yticklabels([safe(name) for name in order], rotation=0)
        axes.tick_params(axis="x", rotation=45, length=0)
        axes.tick_params(axis="y", length=0)
        axes.set(xlabel="learning rate", ylabel=safe(suite["compare"]))
    worst = [f"{arm} at {words.value(lr)}" for arm in order for lr in share.columns if share.at[arm, lr] == 1]
    yield Picture(
        name="failures",
        title="Where does training fail?",
        figure=figure,
        caption=(
            f"Trials that failed to train, of those that ended: the loss became infinite or NaN, or ended no lower "
            f"than an untrained net's. {counted(trials, suite)} {setting(results)}"
        ),
        alt=f"Heat map of failures by arm and learning rate. All seeds fail for: {words.listing(worst[:12])}.",
    )
