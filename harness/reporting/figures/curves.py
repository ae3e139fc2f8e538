"""Training over time: learning curves with every seed, and how soon the target is reached."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from harness.analysis import formatting, pairing
from harness.analysis.claim_checks import covered_values
from harness.analysis.measures.measure import Measure, unit_of
from harness.analysis.metrics import FAILED, FINISHED, metrics_of
from harness.analysis.stats import restricted_times, survival
from harness.reporting.figures.drawing import canvas, guess_line, guess_of, lines_per_trial, plain_numbers, score_axis
from harness.reporting.figures.frame import ReportFigure, ResultSlice, claims_of, points_of, report_figure
from harness.reporting.figures.style import label_text
from harness.spec.manifest import measured_of
from harness.spec.measured import Target
from harness.storage.tables import Results

MAX_LR_COLUMNS = 4
MAX_LOSS = 5  # times the initial loss


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
        with canvas(4.7, data.compare) as figure:
            columns = {"": lrs} if arms_are_lrs else {f"lr {label_text(lr)}": [lr] for lr in lrs}
            panels = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
            metric = data.metric
            drawn = (("batch", "loss", "training loss"), (*metric.name.split("_", 1), metric.axis_words))
            for row, (split, name, label) in zip(panels, drawn, strict=True):
                rows = curves[(curves["split"] == split) & (curves["metric"] == name)]
                for axes, column in zip(row, columns.values(), strict=True):
                    _draw_curves(axes, rows[rows["lr"].isin(column)], data)
                row[0].set_ylabel(label)
            _finish_axes(panels, list(columns), data)
        at = formatting.listing(formatting.value(lr) for lr in lrs)
        choice = "" if arms_are_lrs else f"Shown: lr {at} (a claim's, each arm's best by validation, the grid's ends). "
        yield report_figure(
            data,
            figure,
            name="curves",
            title="How does training go?",
            caption=(
                f"Every seed is a thin line, their mean is thick; a line ends where its loss is not finite. {choice}"
                f"Training loss is a mean of the batches since the last point, cut off above {MAX_LOSS} times the "
                f"initial loss."
            ),
            alt=f"Learning curves by arm at lr {at}: training loss above, {metric.words} below, a line per seed.",
        )


def curves_with_arms(data: ResultSlice, curves: pd.DataFrame) -> pd.DataFrame:
    """The curves of the trials of a figure, with their arms."""
    columns = list(dict.fromkeys(["key", "lr", "seed", data.compare]))
    return curves.merge(data.trials[columns], on="key")


def telling_lrs(data: ResultSlice, at_most: int = MAX_LR_COLUMNS) -> list[float]:
    """Those that a claim names, the best of each arm by its mean validation score, the highest and the lowest."""
    ended = data.trials[data.trials["status"].isin(FINISHED)]
    if ended.empty:
        return []
    metric = data.validated_by
    scored = pairing.score_units(ended, metric)
    mean = metric.sign * scored.groupby([data.compare, "lr"], sort=False)["score"].mean().dropna()
    best = [mean[arm].idxmax() for arm in data.arms if arm in mean.index.get_level_values(0)]
    claims = [declared.claim for declared in data.manifest.claims]
    claimed = [lr for claim in claims if "lr" in claim.where for lr in covered_values(claim, "lr", data.manifest)]
    telling = [*claimed[:1], *best, ended["lr"].max(), ended["lr"].min(), *claimed[1:]]
    return sorted(list(dict.fromkeys(lr for lr in telling if lr in set(ended["lr"])))[:at_most])


def _draw_curves(axes: Axes, curves: pd.DataFrame, data: ResultSlice) -> None:
    lines_per_trial(axes, curves, "step", data)
    for arm, rows in data.by_arm(curves):
        # Where a seed has no value any more, a mean over the others would flatter.
        mean = rows.pivot(index="step", columns="key", values="value").mean(axis=1, skipna=False)
        axes.plot(mean.index, mean, lw=1.8, label=label_text(arm), **data.line(arm))


def _finish_axes(panels: Any, titles: list[str], data: ResultSlice) -> None:
    losses, scores = panels
    if (drawn := _values(losses)).size == 0 or drawn.min() > 0:  # the loss of a suite's own may be anything
        losses[0].set_yscale("log")
    plain_numbers(losses[0].yaxis)
    # A diverging loss would flatten all others.
    if (highest := MAX_LOSS * float(data.trials["initial_loss"].max())) > 0:
        losses[0].set_ylim(top=min(losses[0].get_ylim()[1], highest))
    guess = guess_of(data.trials, data.metric)
    score_axis(scores[0], _values(scores), data.metric)
    for axes, title in zip(losses, titles, strict=True):
        axes.set_title(title)
    for axes in scores:
        guess_line(axes, guess)
        axes.set_xlabel("step")
    _cut_off_beyond_guess(scores[0], guess, data.metric)


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
            metric=metrics_of(data.manifest)["steps_to_target"],
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
