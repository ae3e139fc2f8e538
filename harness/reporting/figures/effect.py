"""Does it help, and where? Accuracy above, paired differences below, over the learning rates or the grid points."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.reporting import grid, words
from harness.reporting.comparison import Comparison, adjusted, compare
from harness.reporting.figures.picture import (
    Picture,
    canvas,
    chance,
    colour,
    counted,
    log_lr,
    points_of,
    reference,
    safe,
    setting,
)
from harness.reporting.metrics import FAILED, FINISHED, score_words, smallest_effect
from harness.reporting.stats import ALPHA
from harness.store import Results

METRIC = "test_accuracy"
MOST_NAMED = 8  # grid points in an alternative text


def effect_at_each_point(results: Results) -> Iterator[Picture]:
    """One picture for each grid point but for lr, or one over all points where lr is no axis."""
    rng = np.random.default_rng(0)  # signs of sign-flip tests above 20 seeds: the same every time
    if not results.trials["status"].isin(FINISHED).any():
        return
    if "lr" in results.suite["axes"]:
        for suffix, where, trials in points_of(results, "lr"):
            yield _picture(results, trials, f"effect{suffix}", where, rng)
    else:
        yield _picture(results, results.trials, "effect", "", rng)


def _picture(results: Results, trials: pd.DataFrame, name: str, where: str, rng: np.random.Generator) -> Picture:
    suite, than = results.suite, reference(results.suite)
    margin = smallest_effect(trials)
    pairs = [
        pair for arm in grid.arms(suite) if arm != than for pair in grid.metric_pairs(trials, suite, arm, than, METRIC)
    ]
    found = [replace(c, shown_in=name) for c in adjusted([compare(p, margin=margin, null=0.0, rng=rng) for p in pairs])]
    at_lr = "lr" in suite["axes"]
    with canvas(5.2) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.25, 1])
        places = _places(trials, suite)
        _accuracies(top, trials, suite, places)
        _differences(bottom, list(zip(pairs, found, strict=True)), suite, places, margin)
        if at_lr:
            log_lr(bottom, grid.values(suite, "lr"))
        else:
            bottom.set_xticks(range(len(places)), [safe(place) for place in places], rotation=20, ha="right")
    subject = "learning rate" if at_lr else "grid point"
    return Picture(
        name=name,
        title=f"Does it help at this {subject}?" + (f" ({where})" if where else ""),
        figure=figure,
        caption=_caption(results, trials, found, margin, than),
        alt=_alt(found, than),
        comparisons=tuple(found),
    )


def _places(trials: pd.DataFrame, suite: Any) -> dict[str, float]:
    """Where on the x axis each grid point stands: at its lr, or in a row."""
    if "lr" in suite["axes"]:
        return {words.value(lr): lr for lr in grid.values(suite, "lr")}
    return {words.point(point): float(i) for i, (point, _) in enumerate(grid.by_point(trials, grid.axes(suite)))}


def _place(point: grid.Point, places: dict[str, float], suite: Any) -> float:
    return places[words.value(point["lr"]) if "lr" in suite["axes"] else words.point(point)]


def _shift(place: float, index: int, count: int, suite: Any) -> float:
    """Arms side by side: neither hides the other."""
    offset = (index - (count - 1) / 2) / max(count, 2)
    return place * 10 ** (0.07 * offset) if "lr" in suite["axes"] else place + 0.35 * offset


def _accuracies(axes: Axes, trials: pd.DataFrame, suite: Any, places: dict[str, float]) -> None:
    arms = grid.arms(suite)
    guess = chance(trials)
    scored = grid.score_units(trials, METRIC)
    for index, arm in enumerate(arms):
        means = []
        for point, rows in grid.by_point(scored[scored[suite["compare"]] == arm], grid.axes(suite)):
            x = _shift(_place(point, places, suite), index, len(arms), suite)
            trained = rows[~rows["status"].isin(FAILED)]
            failed = rows[rows["status"].isin(FAILED)]
            axes.plot([x] * len(trained), trained["score"], "o", ms=3.2, alpha=0.55, mew=0, color=colour(arm, arms))
            # A rug under the line of chance: one tick per failed run, none hidden behind another.
            axes.plot(
                [x] * len(failed), guess - 0.03 - 0.012 * np.arange(len(failed)), "_", ms=5, color=colour(arm, arms)
            )
            means.append((_place(point, places, suite), rows["score"].mean()))
        axes.plot(
            *zip(*sorted(means), strict=True), "-", lw=1.6, color=colour(arm, arms), label=safe(arm)
        ) if means else None
    axes.axhline(guess, ls=":", lw=1, color="#808080")
    axes.set_ylabel("test accuracy")
    axes.legend(title=safe(suite["compare"]), loc="best")


def _differences(
    axes: Axes, found: Sequence[tuple[grid.Pairs, Comparison]], suite: Any, places: dict[str, float], margin: float
) -> None:
    arms = grid.arms(suite)
    axes.axhspan(-100 * margin, 100 * margin, color="#d9d9d9", alpha=0.6, lw=0)
    axes.axhline(0, lw=0.8, color="#808080")
    for pairs, comparison in found:
        x = _shift(_place(pairs.point, places, suite), arms.index(pairs.arm), len(arms), suite)
        y, tint = 100 * comparison.estimate, colour(pairs.arm, arms)
        decided = comparison.p_adjusted < ALPHA
        if comparison.n >= comparison.seeds_needed:
            axes.plot([x, x], [100 * comparison.low, 100 * comparison.high], lw=1.4, color=tint)
        else:
            axes.plot([x] * comparison.n, 100 * pairs.differences, ".", ms=3, color=tint)
        axes.plot([x], [y], "o", ms=6, mec=tint, mfc=tint if decided else "white", mew=1.4)
    axes.set_ylabel(f"points against {safe(reference(suite))}")


def _caption(results: Results, trials: pd.DataFrame, found: list[Comparison], margin: float, than: Any) -> str:
    n = [comparison.n for comparison in found if comparison.n]
    seeds = f"n = {min(n)}" + (f" to {max(n)}" if max(n) > min(n) else "") + " pairs of equal seed" if n else "no pairs"
    tested = [comparison for comparison in found if comparison.n >= comparison.seeds_needed]
    test = (
        f"Bars are 95 % paired t intervals; a filled marker means p < .05 in the exact sign-flip test after Holm over "
        f"{words.count(len(found), 'comparison')}. "
        if tested
        else ""
    )
    if len(tested) < len(found):
        test += "Where there are too few seeds for a test it is descriptive: dots for the pairs, no interval, no p. "
    return (
        f"Above, every seed is a dot and the line is their mean; below, the paired difference from {words.value(than)} "
        f"({seeds}). {test}The grey band is the margin of {100 * margin:.2g} points. "
        f"{counted(trials, results.suite)} {score_words(METRIC)} {setting(results)}"
    )


def _alt(found: list[Comparison], than: Any) -> str:
    better = [c for c in found if c.p_adjusted < ALPHA and c.estimate > 0]
    worse = [c for c in found if c.p_adjusted < ALPHA and c.estimate < 0]
    named = [
        f"{word} at {words.listing(c.point or 'the one point' for c in some[:MOST_NAMED])}"
        for word, some in (("better", better), ("worse", worse))
        if some
    ]
    return (
        f"Two stacked panels: test accuracy of every seed by arm, and paired differences from {words.value(than)}. "
        f"After correction the other arms are {words.listing(named) if named else 'nowhere better or worse'}."
    )
