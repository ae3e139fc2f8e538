"""Training over time: learning curves with every seed, and how soon the target is reached."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.analysis import formatting, pairing
from harness.analysis.metrics import FAILED, FINISHED, score_words
from harness.analysis.stats import restricted_times, survival
from harness.reporting.figures.frame import (
    ReportFigure,
    canvas,
    chance,
    color_of,
    counted,
    label_text,
    legend,
    line_of,
    plain_numbers,
    points_of,
    seeds,
    setting,
)
from harness.spec.manifest import Manifest
from harness.storage.tables import Results

PANELS = (("batch", "loss", "training loss"), ("test", "accuracy", "test accuracy"))
MOST_LRS = 4
HIGHEST = 5  # times the initial loss


def learning_curves(results: Results) -> Iterator[ReportFigure]:
    """Loss and accuracy over training, a column for each of a few learning rates, or one where these are the arms."""
    if results.curves.empty:
        return
    for suffix, where, trials in points_of(results, "lr"):
        arms_are_lrs = results.manifest.compare == "lr"
        lrs = pairing.arms(results.manifest) if arms_are_lrs else telling_lrs(trials, results.manifest)
        columns = list(dict.fromkeys(["key", "lr", "seed", results.manifest.compare]))
        curves = results.curves.merge(trials[columns], on="key")
        if not lrs or curves.empty:
            continue
        with canvas(4.7) as figure:
            groups = {"": lrs} if arms_are_lrs else {f"lr {label_text(lr)}": [lr] for lr in lrs}
            panels = figure.subplots(2, len(groups), sharex=True, sharey="row", squeeze=False)
            for row, (split, metric, label) in enumerate(PANELS):
                these = curves[(curves["split"] == split) & (curves["metric"] == metric)]
                for column, group in enumerate(groups.values()):
                    _panel(panels[row][column], these[these["lr"].isin(group)], results.manifest)
                panels[row][0].set_ylabel(label)
            highest = HIGHEST * float(trials["initial_loss"].max())  # a diverging loss would flatten all others
            _label(panels, list(groups), chance(trials), highest)
            legend(figure, panels.flat, results.manifest.compare)
        at = formatting.listing(formatting.value(lr) for lr in lrs)
        shown = "" if arms_are_lrs else f"Shown: lr {at} (a claim's, each arm's best by validation, the grid's ends). "
        yield ReportFigure(
            name=f"curves{suffix}",
            title="How does training go?" + (f" ({where})" if where else ""),
            figure=figure,
            caption=(
                f"Every seed is a thin line, their mean is thick; a line ends where its loss is not finite. {shown}"
                f"Training loss is a mean of the batches since the last point, cut off above {HIGHEST} times the "
                f"initial loss. {seeds(trials)} "
                f"{counted(trials[trials['lr'].isin(lrs)], results.manifest)} {setting(results)}"
            ),
            alt=f"Learning curves by arm at lr {at}: training loss above, test accuracy below, a line per seed.",
        )


def telling_lrs(trials: pd.DataFrame, manifest: Manifest, most: int = MOST_LRS) -> list[float]:
    """Those that a claim names, the best of each arm by mean validation accuracy, the highest and the lowest."""
    ended = trials[trials["status"].isin(FINISHED)]
    if ended.empty:
        return []
    scored = pairing.score_units(ended, "val_accuracy")
    mean = scored.groupby([manifest.compare, "lr"], sort=False)["score"].mean().dropna()
    best = [mean[arm].idxmax() for arm in pairing.arms(manifest) if arm in mean.index.get_level_values(0)]
    named = [lr for declared in manifest.claims for lr in np.atleast_1d(declared.claim.where.get("lr", []))]
    telling = [*named[:1], *best, ended["lr"].max(), ended["lr"].min(), *named[1:]]
    return sorted(list(dict.fromkeys(lr for lr in telling if lr in set(ended["lr"])))[:most])


def _panel(axes: Axes, curves: pd.DataFrame, manifest: Manifest) -> None:
    arms = pairing.arms(manifest)
    for arm in arms:
        mine = curves[curves[manifest.compare] == arm]
        for _, own in mine.groupby("key", sort=False):
            axes.plot(own["step"], own["value"], lw=0.6, alpha=0.35, color=color_of(arm, arms))
        # Where a seed has no value any more, a mean over the others would flatter.
        mean = mine.pivot(index="step", columns="key", values="value").mean(axis=1, skipna=False)
        axes.plot(mean.index, mean, lw=1.8, label=label_text(arm), **line_of(arm, arms))


def _label(panels: Any, titles: list[str], guess: float, highest: float) -> None:
    for column, title in enumerate(titles):
        panels[0][column].set_title(title)
        panels[0][column].set_yscale("log")
        plain_numbers(panels[0][column].yaxis)
        _, top = panels[0][column].get_ylim()
        panels[0][column].set_ylim(top=min(top, highest))
        panels[1][column].axhline(guess, ls=":", lw=1, color="#808080")
        panels[1][column].set_xlabel("step")


def time_to_target(results: Results) -> Iterator[ReportFigure]:
    """The share of seeds that have reached the target by each step, at the points of the claims `sooner`."""
    manifest = results.manifest
    sooner = [declared.claim for declared in manifest.claims if declared.claim.kind == "sooner"]
    for number, claim in enumerate(sooner, start=1):
        trials = pairing.matching(results.trials, claim.where)
        trials = trials[trials["status"].isin(FINISHED)]
        points = list(pairing.by_point(trials, pairing.axes(manifest)))
        shown = points[:MOST_LRS]
        if trials.empty:
            continue
        left_out = f"Shown: {len(shown)} of {len(points)} grid points. " if len(points) > len(shown) else ""
        with canvas(3.1) as figure:
            panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
            for axes, (point, rows) in zip(panels, shown, strict=True):
                _reached(axes, rows, manifest)
                axes.set(title=label_text(formatting.point(point)), xlabel="step")
            panels[0].set_ylabel("share of seeds at the target")
            legend(figure, panels, manifest.compare)
        yield ReportFigure(
            name=f"time_to_target_{number}",
            title="How soon does it get there?",
            figure=figure,
            caption=(
                f"The share of seeds whose validation accuracy has reached "
                f"{formatting.percent(manifest.target_accuracy or math.nan)}, "
                f"over training (Kaplan-Meier; a tick at the budget marks seeds that never did, counted as the whole "
                f"budget). {left_out}{seeds(trials)} {counted(trials, manifest)} {score_words('steps_to_target')} "
                f"{setting(results)}"
            ),
            alt="Step curves of the share of seeds that have reached the target accuracy, by arm.",
        )


def _reached(axes: Axes, trials: pd.DataFrame, manifest: Manifest) -> None:
    arms = pairing.arms(manifest)
    for arm in arms:
        mine = trials[trials[manifest.compare] == arm]
        if mine.empty:
            continue
        budget = float(mine["steps"].astype("float64").max())
        times = mine["steps_to_target"].astype("float64").mask(mine["status"].isin(FAILED)).to_numpy()
        at, missing = survival(restricted_times(times, np.full(len(times), budget)), ~np.isnan(times))
        steps, share = np.array([0.0, *at, budget]), 1 - np.array([1.0, *missing, missing[-1]])
        axes.step(steps, share, where="post", lw=1.6, label=label_text(arm), **line_of(arm, arms))
        if np.isnan(times).any():
            axes.plot([budget], [share[-1]], "|", ms=9, mew=1.6, color=color_of(arm, arms))
    axes.set_ylim(-0.03, 1.03)
