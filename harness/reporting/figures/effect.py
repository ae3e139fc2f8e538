"""Does it help, and where? Accuracy above, paired differences below, over the learning rates or the grid points."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from harness.analysis import formatting, pairing
from harness.analysis.comparison import Comparison, adjusted, compare_pairs
from harness.analysis.metrics import FAILED, FINISHED
from harness.analysis.stats import ALPHA
from harness.analysis.validation import MAX_SIDE_BY_SIDE, drawn_along
from harness.reporting.figures.batches import has_batch_sizes
from harness.reporting.figures.drawing import (
    canvas,
    difference_label,
    failed_ticks,
    guess_line,
    is_near_guess,
    log_lr,
    plain_numbers,
    score_axis,
    seed_titles,
    symlog_ticks,
)
from harness.reporting.figures.effect_words import (
    USUAL,
    alt_words,
    band_of,
    effect_caption,
    is_doubtful,
    is_far,
    naming_words,
    nothing_trained,
    tests_in_words,
)
from harness.reporting.figures.frame import ReportFigure, ResultSlice, points_of, report_figure
from harness.reporting.figures.style import GREY, MAX_LABEL_LENGTH, label_text
from harness.reporting.findings import point_finding
from harness.reporting.svg import mark_titles
from harness.reporting.variants import variant_claims
from harness.spec.claim import is_number
from harness.storage.tables import Results

MEAN_MARKER = {"ls": "", "marker": "D", "ms": 5, "mfc": "none"}  # how means look that no line joins
MAX_SPREAD = 0.1  # of the axis, that arms side by side take where a line joins their means


@dataclass(frozen=True, slots=True)
class Places:
    """Where the grid points of one figure stand on its x axis: along an axis of the suite, or all in a row."""

    along: str  # "" for all in a row
    over: Sequence[str]  # the axes in which they differ
    positions: Mapping[str, float]  # by their names
    is_ordered: bool  # whether a line from one to the next means something: where they differ by one number

    @classmethod
    def of(cls, data: ResultSlice) -> "Places":
        along = drawn_along(data.manifest)
        over = [along] if along else pairing.axes(data.manifest)
        if along:
            levels = pairing.values(data.manifest, along)
            positions = {formatting.value(x): x if along == "lr" else float(i) for i, x in enumerate(levels)}
        else:
            points = pairing.by_point(data.trials, over)
            positions = {formatting.point(point): float(i) for i, (point, _) in enumerate(points)}
        is_ordered = len(over) == 1 and all(map(is_number, pairing.values(data.manifest, over[0])))
        return cls(along, over, positions, is_ordered)

    def position(self, point: pairing.Point) -> float:
        """Where a grid point stands."""
        return self.positions[formatting.value(point[self.along]) if self.along else formatting.point(point)]

    def side_by_side(self, position: float, index: int, count: int) -> float:
        """Arms side by side between one grid point and the next: neither hides the other.

        Where a line joins means, which stand at the grid points themselves, seeds stay close to it.
        """
        at_lr = self.along == "lr"
        places = np.sort(np.log10([*self.positions.values()]) if at_lr else [*self.positions.values()])
        width = 0.6 * float(np.diff(places).min(initial=0.5 if at_lr else 1.0))
        if self.is_ordered and len(places) > 1:
            width = min(width, MAX_SPREAD * float(np.ptp(places)))
        offset = width * (index - (count - 1) / 2) / max(count, 2)
        return float(position * 10**offset) if at_lr else position + offset


def effect_at_each_point(results: Results) -> Iterator[ReportFigure]:
    """A figure for each grid point but for the axis that it is drawn along, or one of all points in a row."""
    if not results.trials["status"].isin(FINISHED).any():
        return
    along = drawn_along(results.manifest)
    at_lr = along == "lr"
    if not at_lr and variant_claims(declared.claim for declared in results.manifest.claims):
        return  # the figure of variants shows them, each by what it changes
    if not at_lr and has_batch_sizes(results.manifest):
        return  # the figures over batch sizes show the same scores and differences, in an order that says more
    everything = ResultSlice.whole(results)
    for data in points_of(results, along) if along else [everything]:
        pairs = _pairs_with_baseline(data)
        family = adjusted([compare_pairs(p, margin=0.0) for p in pairs])
        comparisons = [replace(comparison, shown_in=f"effect{data.suffix}") for comparison in family]
        places = Places.of(data)
        usual = {} if along else _usual_point(data, places)
        with canvas(5.4, data.compare) as figure:
            top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.25, 1])
            _draw_scores(top, data, places)
            _draw_differences(bottom, pairs, comparisons, data, places)
            if at_lr:
                log_lr(bottom, pairing.values(data.manifest, "lr"))
            else:
                _name_points(bottom, data, places, usual)
        yield report_figure(
            data,
            figure,
            name="effect",
            title=f"Does it help at this {'learning rate' if at_lr else 'grid point'}?",
            caption=f"{effect_caption(data, comparisons, is_ordered=places.is_ordered)}{naming_words(usual)}",
            alt=alt_words(data, comparisons),
            sample=tests_in_words(comparisons),
            comparisons=tuple(comparisons),
        )


def _pairs_with_baseline(data: ResultSlice) -> list[pairing.Pairs]:
    """The pairs of every other arm with the baseline, at each grid point."""
    return [
        pairs
        for arm in data.arms
        if arm != data.baseline
        for pairs in pairing.metric_pairs(data.trials, data.manifest, arm, data.baseline, data.metric.name)
    ]


def _name_points(axes: Axes, data: ResultSlice, places: Places, usual: pairing.Point) -> None:
    """The grid points along the x axis; where they differ in one axis only, its name stands below, said once."""
    axis = formatting.axis(places.over[0]) if len(places.over) == 1 else ""
    names = [name.removeprefix(f"{axis} ") for name in places.positions]
    if usual:
        points = [point for point, _ in pairing.by_point(data.trials, places.over)]
        unusual = [{axis: value for axis, value in point.items() if value != usual[axis]} for point in points]
        names = [formatting.point(point) or USUAL for point in unusual]
    labels = [label_text(name) for name in names]
    is_crowded = len(names) > MAX_SIDE_BY_SIDE or not axis
    axes.set_xticks(
        range(len(labels)), labels, rotation=35 if is_crowded else 0, ha="right" if is_crowded else "center"
    )
    axes.set_xlabel(axis)


def _usual_point(data: ResultSlice, places: Places) -> pairing.Point:
    """The commonest value of each axis, where names of grid points are too long to be told apart; else nothing."""
    if max(map(len, places.positions)) <= MAX_LABEL_LENGTH:
        return {}
    points = [point for point, _ in pairing.by_point(data.trials, places.over)]
    return {axis: Counter(point[axis] for point in points).most_common(1)[0][0] for axis in places.over}


def _draw_scores(axes: Axes, data: ResultSlice, places: Places) -> None:
    metric = data.metric
    scored = pairing.score_units(data.trials, metric)
    for arm, rows_of_arm in data.by_arm(scored):
        color, means = data.palette[arm], []
        for point, rows in pairing.by_point(rows_of_arm, pairing.axes(data.manifest)):
            position = places.position(point)
            x = places.side_by_side(position, data.arms.index(arm), len(data.arms))
            trained = rows[~rows["status"].isin(FAILED)]
            failed = len(rows) - len(trained)
            gids = [
                mark_titles(seed_titles(rows_of, arm, point, metric)) for rows_of in (trained, rows.drop(trained.index))
            ]
            axes.plot([x] * len(trained), trained["score"], "o", ms=3.2, alpha=0.55, mew=0, color=color, gid=gids[0])
            axes.plot([x] * failed, failed_ticks(failed, rows, scored, metric), "_", ms=5, color=color, gid=gids[1])
            means.append((position if places.is_ordered else x, rows["score"].mean()))
        look = data.line(arm) if places.is_ordered else {"color": color, **MEAN_MARKER}
        axes.plot(*zip(*sorted(means), strict=True), lw=1.6, mew=1.6, label=label_text(arm), **look)
    for guess, rows in scored.groupby(metric.policy.value(scored).astype("float64")):
        if is_near_guess(rows["score"], guess, metric):
            guess_line(axes, guess)
    score_axis(axes, scored["score"], metric)
    axes.set_ylabel(metric.axis_words)


def _draw_differences(
    axes: Axes,
    pairs: Sequence[pairing.Pairs],
    comparisons: Sequence[Comparison],
    data: ResultSlice,
    places: Places,
) -> None:
    others = [arm for arm in data.arms if arm != data.baseline]
    unit, margin = data.metric.unit, band_of(data)
    if margin:
        axes.axhspan(-unit.factor * margin, unit.factor * margin, color="#d9d9d9", alpha=0.6, lw=0)
    axes.axhline(0, lw=0.8, color=GREY)
    for pair, comparison in zip(pairs, comparisons, strict=True):
        x = places.side_by_side(places.position(pair.point), others.index(pair.arm), len(others))
        color = data.palette[pair.arm]
        if comparison.n >= comparison.seeds_needed:
            style = ":" if is_doubtful(comparison) else "-"
            axes.plot(
                [x, x], [unit.factor * comparison.low, unit.factor * comparison.high], lw=1.4, ls=style, color=color
            )
        else:
            axes.plot([x] * comparison.n, unit.factor * pair.differences, ".", ms=3, color=color)
        told = f"{comparison.arm}, {comparison.point or 'all'}: {point_finding(comparison)}"
        if nothing_trained(comparison):
            axes.plot([x], [0], "x", ms=6, mew=1.4, color=color, gid=mark_titles([f"{told}; all failed to train"]))
            continue
        face = color if comparison.p_adjusted < ALPHA else "white"
        axes.plot(
            [x], [unit.factor * comparison.estimate], "o", ms=5.5, mec=color, mfc=face, mew=1.4, gid=mark_titles([told])
        )
    if is_far(comparisons, margin):
        axes.set_yscale("symlog", linthresh=2 * unit.factor * margin, linscale=0.7)
        low, high = axes.dataLim.intervaly
        axes.set_yticks(symlog_ticks(low, high, unit.factor * margin))
        axes.yaxis.set_minor_locator(NullLocator())
        plain_numbers(axes.yaxis)
    axes.set_ylabel(difference_label(data.metric, label_text(data.baseline)))
