"""Training over time: learning curves with every seed, and how soon the target is reached."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from harness.analysis import formatting, pairing
from harness.analysis.claim_checks import covered_values
from harness.analysis.measures.measure import Measure, unit_of
from harness.analysis.metrics import FAILED, FINISHED
from harness.analysis.stats import restricted_times, survival
from harness.reporting.figures.drawing import canvas, guess_line, guess_of, lines_per_trial, plain_numbers, score_axis
from harness.reporting.figures.frame import ReportFigure, ResultSlice, claims_of, points_of, report_figure
from harness.reporting.figures.style import label_text
from harness.spec.manifest import measured_of
from harness.spec.measured import Target
from harness.storage.tables import Results

MAX_LR_COLUMNS = 4
MAX_LOSS = 5  # times the initial loss
EARLY = 0.1  # share of training in which a curve that has most of its change there needs a log axis
MIN_CURVE_POINTS = 5  # that a curve needs for that
MIN_EVALUATIONS = 3  # that make a curve: between two points there is nothing to see
MAX_SINGLE_RUNS = 2  # arms of which one run is told from the others: more would hide them


def learning_curves(results: Results) -> Iterator[ReportFigure]:
    """Loss and test score over training, a column for each of a few learning rates, or one where these are the arms."""
    if results.curves.empty:
        return
    for data in points_of(results, "lr"):
        arms_are_lrs = data.compare == "lr"
        lrs = data.arms if arms_are_lrs else telling_lrs(data)
        data = replace(data, trials=data.trials[data.trials["lr"].isin(lrs)])
        curves = curves_with_arms(data, results.curves)
        if not lrs or curves.empty:
            continue
        columns = {"": lrs} if arms_are_lrs else {f"lr {label_text(lr)}": [lr] for lr in _main_first(lrs, data)}
        (main, main_lrs), *others = columns.items()
        metric, single = data.metric, _single_seed(data)
        drawn = (("batch", "loss", "training loss"), (*metric.name.split("_", 1), metric.axis_words))
        rows_of = [curves[(curves["split"] == split) & (curves["metric"] == name)] for split, name, _ in drawn]
        if max(rows["step"].nunique() for rows in rows_of) < MIN_EVALUATIONS:
            continue
        with canvas(5.6 if others else 3.0, data.compare) as figure:
            large, small = _panels(figure, len(others))
            for number, (rows, (_, _, label)) in enumerate(zip(rows_of, drawn, strict=True)):
                _draw_curves(large[number], rows[rows["lr"].isin(main_lrs)], data, single)
                large[number].set_ylabel(label)
                for axes, (_, of_column) in zip(small[number], others, strict=True):
                    _draw_curves(axes, rows[rows["lr"].isin(of_column)], data)
            _finish_axes(np.array([[axes, *below] for axes, below in zip(large, small, strict=True)]), data)
            for axes in large:
                axes.set_title(main)
            for number, (title, _) in enumerate(others):
                small[0][number].set_title(title)
        at = formatting.listing(formatting.value(lr) for lr in lrs)
        choice = "" if arms_are_lrs else f"Large: {main}; shown: the claims' lr, each arm's best, the grid's ends. "
        one_run = "" if single is None else f"Edged in white: seed {single}, all that one run of each arm would show. "
        yield report_figure(
            data,
            figure,
            name="curves",
            title="How does training go?",
            caption=(
                f"Every seed is a thin line, their mean is thick; a line ends where its loss is not finite. "
                f"{one_run}{choice}"
                f"Training loss: the mean since the last point, cut off above {MAX_LOSS} times the initial loss."
            ),
            alt=f"Learning curves by arm at lr {at}: training loss and {metric.words}, a line per seed.",
        )


def _single_seed(data: ResultSlice) -> Any:
    """The seed whose runs stand for what somebody sees who trains each arm once; None where there are many arms.

    It is the first one, whatever came of it: any other choice would look at the results.
    """
    seeds = data.trials["seed"].unique()
    return seeds.min() if len(seeds) > 1 and len(data.arms) <= MAX_SINGLE_RUNS else None


def _main_first(lrs: list[float], data: ResultSlice) -> list[float]:
    """These learning rates, first the one that a claim is about, else the best of the first arm."""
    claims = [declared.claim for declared in data.manifest.claims]
    claimed = [lr for claim in claims if "lr" in claim.where for lr in covered_values(claim, "lr", data.manifest)]
    main = next((lr for lr in [*claimed, *best_lrs(data)] if lr in lrs), lrs[0])
    return [main, *(lr for lr in lrs if lr != main)]


def _panels(figure: Figure, others: int) -> tuple[list[Axes], list[list[Axes]]]:
    """Two large panels beside each other, and below them two rows of small ones on the same scales."""
    if not others:
        return list(figure.subplots(1, 2)), [[], []]
    grid = figure.add_gridspec(3, 2 * others, height_ratios=[2.2, 1, 1])
    large = [figure.add_subplot(grid[0, :others]), figure.add_subplot(grid[0, others:])]
    small = [
        [figure.add_subplot(grid[row, 2 * i : 2 * i + 2], sharex=axes, sharey=axes) for i in range(others)]
        for row, axes in enumerate(large, start=1)
    ]
    for row in small:
        for axes in row:
            axes.tick_params(labelbottom=row is small[-1], labelleft=axes is row[0])
    return large, small


def curves_with_arms(data: ResultSlice, curves: pd.DataFrame) -> pd.DataFrame:
    """The curves of the trials of a figure, with their arms."""
    columns = list(dict.fromkeys(["key", "lr", "seed", data.compare]))
    return curves.merge(data.trials[columns], on="key")


def telling_lrs(data: ResultSlice, at_most: int = MAX_LR_COLUMNS) -> list[float]:
    """Those that a claim names, the best of each arm by its mean validation score, the highest and the lowest."""
    ended = data.trials[data.trials["status"].isin(FINISHED)]
    if ended.empty:
        return []
    best = best_lrs(data)
    claims = [declared.claim for declared in data.manifest.claims]
    claimed = [lr for claim in claims if "lr" in claim.where for lr in covered_values(claim, "lr", data.manifest)]
    telling = [*claimed[:1], *best, ended["lr"].max(), ended["lr"].min(), *claimed[1:]]
    return sorted(list(dict.fromkeys(lr for lr in telling if lr in set(ended["lr"])))[:at_most])


def best_lrs(data: ResultSlice) -> list[float]:
    """The best learning rate of each arm by its mean validation score."""
    metric = data.validated_by
    ended = data.trials[data.trials["status"].isin(FINISHED)]
    scored = pairing.score_units(ended, metric)
    mean: Any = metric.sign * scored.groupby([data.compare, "lr"], sort=False)["score"].mean().dropna()
    return [mean[arm].idxmax() for arm in data.arms if arm in mean.index.get_level_values(0)]


def _draw_curves(axes: Axes, curves: pd.DataFrame, data: ResultSlice, single: Any = None) -> None:
    """A line for each trial, those of a `single` seed told from the others, and above all the means."""
    lines_per_trial(axes, curves, "step", data)
    for arm, rows in data.by_arm(curves[curves["seed"] == single] if single is not None else curves[:0]):
        edge = [Stroke(linewidth=2.8, foreground="white"), Normal()]
        axes.plot(rows["step"], rows["value"], lw=1.1, color=data.palette[arm], path_effects=edge)
    for arm, rows in data.by_arm(curves):
        # Where a seed has no value any more, a mean over the others would flatter.
        mean = rows.pivot(index="step", columns="key", values="value").mean(axis=1, skipna=False)
        axes.plot(mean.index, mean, lw=1.8, label=label_text(arm), **data.line(arm))


def _finish_axes(panels: Any, data: ResultSlice) -> None:
    """Scales and marks of all panels: a row of losses and a row of scores, the large panel first in each."""
    losses, scores = panels
    if (drawn := _values(losses)).size == 0 or drawn.min() > 0:  # the loss of a suite's own may be anything
        losses[0].set_yscale("log")
    plain_numbers(losses[0].yaxis)
    # A diverging loss would flatten all others.
    if (highest := MAX_LOSS * float(data.trials["initial_loss"].max())) > 0:
        losses[0].set_ylim(top=min(losses[0].get_ylim()[1], highest))
    guess = guess_of(data.trials, data.metric)
    score_axis(scores[0], _values(scores), data.metric)
    for axes in scores:
        guess_line(axes, guess)
    for axes in (losses[0], *scores):
        axes.set_xlabel("step")
    if any(map(_is_early, panels[:, 0])):  # the same axis for both, so that steps compare
        for axes in panels[:, 0]:
            axes.set_xscale("symlog", linthresh=_first_step(axes))
            axes.set_xlim(left=0)
            plain_numbers(axes.xaxis)
    _cut_off_beyond_guess(scores[0], guess, data.metric)


def _is_early(axes: Axes) -> bool:
    """Whether half of the change of most means is over in the first tenth of training: a log axis shows it."""
    means = [line for line in axes.lines if str(line.get_label())[:1] != "_"]
    early = []
    for line in means:
        x, y = (np.asarray(values, dtype=np.float64) for values in line.get_data())
        known = np.isfinite(y)
        x, y = x[known], y[known]
        if len(y) < MIN_CURVE_POINTS:
            continue
        half = np.abs(y - y[0]) >= abs(y[-1] - y[0]) / 2
        early.append(bool(x[np.argmax(half)] <= x[0] + EARLY * (x[-1] - x[0])))
    return sum(early) * 2 > len(early)


def _first_step(axes: Axes) -> float:
    """The first step after the start that any line has a value at."""
    steps = np.concatenate([np.asarray(line.get_xdata(), dtype=np.float64) for line in axes.lines])
    return float(steps[steps > 0].min(initial=np.inf)) if (steps > 0).any() else 1.0


def _values(panels: Any) -> NDArray[np.float64]:
    """The finite values of all lines of these panels."""
    of_lines = [np.asarray(line.get_ydata(), dtype=np.float64) for axes in panels for line in axes.lines]
    values: NDArray[np.float64] = np.concatenate([np.empty(0), *of_lines])
    return values[np.isfinite(values)]


def _cut_off_beyond_guess(axes: Axes, guess: float, metric: Measure) -> None:
    """Leave out what is far worse than guessing, where a metric has no end on that side: it would flatten the rest."""
    if metric.sign < 0 and not np.isfinite(metric.high) and guess > 0:
        axes.set_ylim(top=min(axes.get_ylim()[1], MAX_LOSS * guess))
    elif metric.sign > 0 and not np.isfinite(metric.low) and np.isfinite(metric.high):
        axes.set_ylim(bottom=max(axes.get_ylim()[0], guess - (metric.high - guess)))


def time_to_target(results: Results) -> Iterator[ReportFigure]:
    """The share of seeds that have reached the target by each step, at the points of the claims `sooner`."""
    for number, (_, claim) in enumerate(claims_of(results, "sooner"), start=1):
        trials = pairing.matching(results.trials, claim.where)
        data = ResultSlice(results=results, trials=trials[trials["status"].isin(FINISHED)])
        points = list(pairing.by_point(data.trials, pairing.axes(data.manifest)))
        if data.trials.empty:
            continue
        shown, target = points[:MAX_LR_COLUMNS], measured_of(data.manifest).target
        of_metric = f" {target.spec.words}" if target else ""
        with canvas(3.1, data.compare) as figure:
            panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
            for axes, (point, rows) in zip(panels, shown, strict=True):
                _draw_share_at_target(axes, rows, data)
                axes.set(title=label_text(formatting.point(point)), xlabel="step", ylim=(-0.03, 1.03))
            panels[0].set_ylabel("share of seeds at the target")
        yield report_figure(
            data,
            figure,
            name=f"time_to_target_{number}",
            title="How soon does it get there?",
            caption=(
                f"The share of seeds whose {data.validated_by.words} has reached {_level(target)}, over "
                f"training (Kaplan-Meier; a tick at the budget marks seeds that never did, which count as the whole "
                f"budget)."
            ),
            alt=f"Step curves of the share of seeds that have reached the target{of_metric}, by arm.",
            shown=(len(shown), len(points), "grid points"),
        )


def _level(target: Target | None) -> str:
    return formatting.level(target.value, unit_of(target.spec)) if target else "the target"


def _draw_share_at_target(axes: Axes, trials: pd.DataFrame, data: ResultSlice) -> None:
    for arm, rows in data.by_arm(trials):
        budget = float(rows["steps"].astype("float64").max())
        reached = rows["steps_to_target"].mask(rows["status"].isin(FAILED))
        times = np.asarray(reached.astype("float64"), dtype=np.float64)
        at, missing = survival(restricted_times(times, np.full(len(times), budget)), ~np.isnan(times))
        steps, share = np.array([0.0, *at, budget]), 1 - np.array([1.0, *missing, missing[-1]])
        axes.step(steps, share, where="post", lw=1.6, label=label_text(arm), **data.line(arm))
        if np.isnan(times).any():
            axes.plot([budget], [share[-1]], "|", ms=9, mew=1.6, color=data.palette[arm])
