"""Does it help, and where? Accuracy above, paired differences below, over the learning rates or the grid points."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from harness.analysis import formatting, pairing
from harness.analysis.comparison import Comparison, adjusted, compare_pairs
from harness.analysis.metrics import FAILED, FINISHED, score_words, smallest_effect
from harness.analysis.stats import ALPHA
from harness.reporting.figures.frame import (
    MAX_LABEL_LENGTH,
    ReportFigure,
    baseline_arm,
    canvas,
    chance,
    color_of,
    counted,
    label_text,
    legend,
    line_of,
    log_lr,
    over_lr,
    plain_numbers,
    points_of,
    setting,
)
from harness.spec.claim import is_number
from harness.spec.manifest import Manifest
from harness.storage.tables import Results

METRIC = "test_accuracy"
MOST_NAMED = 8  # grid points in an alternative text
FAR = 20  # margins: differences beyond that leave no room for the margin's band on a linear axis
ENOUGH_SEEDS = 20  # for the interval of a mean over seeds of which some failed
USUAL = "usual point"
MEAN = {"ls": "", "marker": "D", "ms": 5, "mfc": "none"}  # how means look that no line joins
MOST_UPRIGHT = 8  # grid points whose names fit below an axis


def effect_at_each_point(results: Results) -> Iterator[ReportFigure]:
    """One picture for each grid point but for lr, or one over all points where lr is no axis."""
    rng = np.random.default_rng(0)  # signs of sign-flip tests above 20 seeds: the same every time
    if not results.trials["status"].isin(FINISHED).any():
        return
    if over_lr(results.manifest):
        for suffix, where, trials in points_of(results, "lr"):
            yield _picture(results, trials, f"effect{suffix}", where, rng)
    else:
        yield _picture(results, results.trials, "effect", "", rng)


def _picture(results: Results, trials: pd.DataFrame, name: str, where: str, rng: np.random.Generator) -> ReportFigure:
    manifest, than = results.manifest, baseline_arm(results.manifest)
    margin = smallest_effect(trials)
    pairs = [
        pair
        for arm in pairing.arms(manifest)
        if arm != than
        for pair in pairing.metric_pairs(trials, manifest, arm, than, METRIC)
    ]
    found = [
        replace(c, shown_in=name) for c in adjusted([compare_pairs(p, margin=margin, null=0.0, rng=rng) for p in pairs])
    ]
    at_lr, places = over_lr(manifest), _places(trials, manifest)
    usual = {} if at_lr else _usual(trials, places, manifest)
    with canvas(5.4) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.25, 1])
        _accuracies(top, trials, manifest, places)
        _differences(bottom, list(zip(pairs, found, strict=True)), manifest, places, margin)
        legend(figure, [top], manifest.compare)
        if at_lr:
            log_lr(bottom, pairing.values(manifest, "lr"))
        else:
            _name_places(bottom, trials, places, manifest, usual)
    subject = "learning rate" if at_lr else "grid point"
    return ReportFigure(
        name=name,
        title=f"Does it help at this {subject}?" + (f" ({where})" if where else ""),
        figure=figure,
        caption=_caption(results, trials, found, margin, than) + _naming(usual),
        alt=_alt(found, than),
        comparisons=tuple(found),
    )


def _places(trials: pd.DataFrame, manifest: Manifest) -> dict[str, float]:
    """Where on the x axis each grid point stands: at its lr, or in a row."""
    if over_lr(manifest):
        return {formatting.value(lr): lr for lr in pairing.values(manifest, "lr")}
    return {
        formatting.point(point): float(i)
        for i, (point, _) in enumerate(pairing.by_point(trials, pairing.axes(manifest)))
    }


def _place(point: pairing.Point, places: dict[str, float], manifest: Manifest) -> float:
    return places[formatting.value(point["lr"]) if over_lr(manifest) else formatting.point(point)]


def _name_places(
    axes: Axes, trials: pd.DataFrame, places: dict[str, float], manifest: Manifest, usual: pairing.Point
) -> None:
    """The grid points along the x axis; where they differ in one axis only, its name stands below, said once."""
    over = pairing.axes(manifest)
    name = over[0].replace("_", " ") if len(over) == 1 else ""
    names = [place.removeprefix(f"{name} ") for place in places]
    if usual:
        points = [point for point, _ in pairing.by_point(trials, over)]
        apart = [{axis: value for axis, value in point.items() if value != usual[axis]} for point in points]
        names = [formatting.point(point) or USUAL for point in apart]
    labels = [label_text(place) for place in names]
    crowded = len(places) > MOST_UPRIGHT or not name
    axes.set_xticks(range(len(places)), labels, rotation=35 if crowded else 0, ha="right" if crowded else "center")
    axes.set_xlabel(name)


def _usual(trials: pd.DataFrame, places: dict[str, float], manifest: Manifest) -> pairing.Point:
    """The commonest value of each axis, where names of grid points are too long to be told apart; else nothing."""
    if max(map(len, places)) <= MAX_LABEL_LENGTH:
        return {}
    points = [point for point, _ in pairing.by_point(trials, pairing.axes(manifest))]
    return {axis: Counter(point[axis] for point in points).most_common(1)[0][0] for axis in pairing.axes(manifest)}


def _shifted(place: float, index: int, count: int, places: dict[str, float], manifest: Manifest) -> float:
    """Arms side by side between one grid point and the next: neither hides the other."""
    offset = (index - (count - 1) / 2) / max(count, 2)
    if not over_lr(manifest):
        return place + 0.6 * offset
    apart = float(np.diff(np.log10(sorted(places.values()))).min(initial=0.5))
    return float(place * 10 ** (0.6 * apart * offset))


def _in_order(manifest: Manifest) -> bool:
    """Whether a line from one grid point to the next means something: where they differ by one number."""
    over = ["lr"] if over_lr(manifest) else pairing.axes(manifest)
    return len(over) == 1 and all(map(is_number, pairing.values(manifest, over[0])))


def _accuracies(axes: Axes, trials: pd.DataFrame, manifest: Manifest, places: dict[str, float]) -> None:
    arms, joined = pairing.arms(manifest), _in_order(manifest)
    scored = pairing.score_units(trials, METRIC)
    for index, arm in enumerate(arms):
        means = []
        for point, rows in pairing.by_point(scored[scored[manifest.compare] == arm], pairing.axes(manifest)):
            place = _place(point, places, manifest)
            x = _shifted(place, index, len(arms), places, manifest)
            trained = rows[~rows["status"].isin(FAILED)]
            failed = len(rows) - len(trained)
            axes.plot([x] * len(trained), trained["score"], "o", ms=3.2, alpha=0.55, mew=0, color=color_of(arm, arms))
            # A rug under the line of chance: one tick per failed run, none hidden behind another.
            rug = chance(rows) - 0.03 - min(0.012, 0.12 / max(1, failed)) * np.arange(failed)
            axes.plot([x] * failed, rug, "_", ms=5, color=color_of(arm, arms))
            means.append((place if joined else x, rows["score"].mean()))
        if means:
            look = line_of(arm, arms) if joined else {"color": color_of(arm, arms), **MEAN}
            axes.plot(*zip(*sorted(means), strict=True), lw=1.6, mew=1.6, label=label_text(arm), **look)
    for guess, rows in scored.groupby(1 / scored["classes"].astype("float64")):
        if rows["score"].min() < 2 * guess:  # else it would only squeeze what there is to see
            axes.axhline(guess, ls=":", lw=1, color="#808080")
    axes.set_ylabel("test accuracy")


def _differences(
    axes: Axes,
    found: Sequence[tuple[pairing.Pairs, Comparison]],
    manifest: Manifest,
    places: dict[str, float],
    margin: float,
) -> None:
    arms = pairing.arms(manifest)
    others = [arm for arm in arms if arm != baseline_arm(manifest)]
    axes.axhspan(-100 * margin, 100 * margin, color="#d9d9d9", alpha=0.6, lw=0)
    axes.axhline(0, lw=0.8, color="#808080")
    for pairs, comparison in found:
        x = _shifted(_place(pairs.point, places, manifest), others.index(pairs.arm), len(others), places, manifest)
        y, tint = 100 * comparison.estimate, color_of(pairs.arm, arms)
        if comparison.n >= comparison.seeds_needed:
            style = ":" if _is_doubtful(comparison) else "-"
            axes.plot([x, x], [100 * comparison.low, 100 * comparison.high], lw=1.4, ls=style, color=tint)
        else:
            axes.plot([x] * comparison.n, 100 * pairs.differences, ".", ms=3, color=tint)
        decided = comparison.p_adjusted < ALPHA
        axes.plot([x], [y], "o", ms=5.5, mec=tint, mfc=tint if decided else "white", mew=1.4)
    if _is_far([comparison for _, comparison in found], margin):
        axes.set_yscale("symlog", linthresh=200 * margin, linscale=0.7)
        axes.yaxis.set_minor_locator(NullLocator())
        plain_numbers(axes.yaxis)
    axes.set_ylabel(f"points against {label_text(baseline_arm(manifest))}")


def _is_far(found: Sequence[Comparison], margin: float) -> bool:
    """Whether differences are so large that the margin could not be seen beside them."""
    ends = [abs(end) for c in found for end in (c.estimate, c.low, c.high)]
    return any(end > FAR * margin for end in ends)


def _is_doubtful(comparison: Comparison) -> bool:
    """Whether some seeds failed and some did not, and there are too few for the interval of their mean."""
    partly = (
        0 < comparison.arm_failed < comparison.arm_finished or 0 < comparison.than_failed < comparison.than_finished
    )
    return partly and comparison.n < ENOUGH_SEEDS


def _caption(results: Results, trials: pd.DataFrame, found: list[Comparison], margin: float, than: Any) -> str:
    n = [comparison.n for comparison in found if comparison.n]
    seeds = f"n = {min(n)}" + (f" to {max(n)}" if max(n) > min(n) else "") + " pairs of equal seed" if n else "no pairs"
    tested = [comparison for comparison in found if comparison.n >= comparison.seeds_needed]
    test = (
        f"Bars are 95 % paired t intervals; a filled marker means p < .05 in the sign-flip test after Holm over "
        f"{formatting.count(len(found), 'comparison')}. "
        if tested
        else ""
    )
    if len(tested) < len(found):
        test += "Where there are too few seeds for a test it is descriptive: dots for the pairs, no interval, no p. "
    if any(map(_is_doubtful, tested)):
        test += (
            f"A dotted bar stands where some seeds failed and others did not: with fewer than {ENOUGH_SEEDS} no "
            f"interval of such a mean can be relied on, the failure rates can. "
        )
    scale = f", linear up to {200 * margin:.2g} points and logarithmic beyond" if _is_far(found, margin) else ""
    mean = "line" if _in_order(results.manifest) else "diamond"
    return (
        f"Above, every seed is a dot, a failed one a tick below the dotted line of chance, and the {mean} is their "
        f"mean; below, the paired difference from {formatting.value(than)} ({seeds}{scale}). {test}The grey "
        f"band is the "
        f"margin of {100 * margin:.2g} points. "
        f"{counted(trials, results.manifest)} {score_words(METRIC)} {setting(results)}"
    )


def _naming(usual: pairing.Point) -> str:
    return f" A grid point is named by what differs from the {USUAL}: {formatting.point(usual)}." if usual else ""


def _alt(found: list[Comparison], than: Any) -> str:
    named = [
        f"{word} are {_named([c for c in found if c.p_adjusted < ALPHA and c.estimate * sign > 0])}"
        for word, sign in (("better", 1), ("worse", -1))
    ]
    return (
        f"Two stacked panels: test accuracy of every seed by arm, and paired differences from "
        f"{formatting.value(than)}. "
        f"After correction, {' and '.join(named)}."
    )


def _named(found: list[Comparison]) -> str:
    """Which arms, and at which grid points."""
    some = [f"{c.arm} at {c.point}" if c.point else c.arm for c in found[:MOST_NAMED]]
    more = [f"{len(found) - MOST_NAMED} more"] if len(found) > MOST_NAMED else []
    return formatting.listing([*some, *more]) if found else "no arms"
