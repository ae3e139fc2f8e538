"""Over several tasks: how large a share of them does each arm solve how well? The tasks are the unit."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis import formatting, pairing
from harness.analysis.metrics import score_words
from harness.analysis.stats import cross_fitted, iqm, mean_ranks, normalised, performance_profile
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
)
from harness.spec.manifest import Manifest
from harness.storage.tables import Results

METRIC = "test_accuracy"
FEWEST = 3  # tasks: a share of fewer says nothing
THRESHOLDS = np.linspace(0, 1, 101)

Array = NDArray[np.float64]


def task_profile(results: Results) -> Iterator[ReportFigure]:
    """The share of data sets on which an arm's normalised accuracy exceeds each level (Agarwal et al. 2021)."""
    manifest = results.manifest
    if manifest.compare == "dataset" or len(pairing.values(manifest, "dataset")) < FEWEST:
        return
    rng = np.random.default_rng(0)  # resamples of seeds: the same every time
    for suffix, where, trials in points_of(results, "dataset", *(["lr"] if over_lr(manifest) else [])):
        scores = _scores(trials, manifest)
        tasks = len(next(iter(scores.values()))) if scores else 0
        if tasks < FEWEST:
            continue
        arms = pairing.arms(manifest)
        with canvas(3.0) as figure:
            axes = figure.subplots()
            for arm, of in scores.items():
                share, low, high = performance_profile(of, THRESHOLDS, rng)
                axes.fill_between(THRESHOLDS, low, high, step="post", alpha=0.2, lw=0, color=color_of(arm, arms))
                axes.step(THRESHOLDS, share, where="post", lw=1.6, label=label_text(arm), **line_of(arm, arms))
            axes.set(xlabel="normalised test accuracy, above", ylabel="share of tasks", ylim=(-0.03, 1.03))
            legend(figure, [axes], manifest.compare)
        chosen = ", each at the learning rate that validation on the other seeds chooses" if over_lr(manifest) else ""
        yield ReportFigure(
            name=f"tasks{suffix}",
            title="How do the arms do over all tasks?" + (f" ({where})" if where else ""),
            figure=figure,
            caption=(
                f"The share of {formatting.count(tasks, 'task')} on which the mean over seeds of (accuracy - chance) / "
                f"(1 - chance) exceeds each level{chosen}; bands are 95 % bootstrap intervals over seeds within each "
                f"task, and say nothing of other tasks. {_summary(scores)} Tasks that an arm lacks are left out of "
                f"all. No test is made here. {counted(trials, manifest)} {score_words(METRIC)}"
            ),
            alt=f"Falling step curves by arm of the share of tasks over normalised accuracy. {_summary(scores)}",
        )


def _scores(trials: pd.DataFrame, manifest: Manifest) -> dict[Any, Array]:
    """Per arm its normalised scores [task, seed], NaN where a seed has none; of the tasks that all arms have."""
    found = {
        arm: {task: _task(mine, manifest) for (task,), mine in of.groupby(["dataset"], sort=False)}
        for arm in pairing.arms(manifest)
        if not (of := trials[trials[manifest.compare] == arm]).empty
    }
    known = {arm: {task for task, scores in tasks.items() if len(scores)} for arm, tasks in found.items()}
    shared = [t for t in pairing.values(manifest, "dataset") if all(t in tasks for tasks in known.values())]
    return {arm: _stacked([tasks[task] for task in shared]) for arm, tasks in found.items()} if shared else {}


def _task(trials: pd.DataFrame, manifest: Manifest) -> Array:
    """The normalised score of each seed at one task."""
    guess = (1 / trials["classes"].astype("float64")).min()
    if not over_lr(manifest):
        scored = pairing.score_units(trials, METRIC)["score"].dropna().to_numpy("float64")
        return normalised(scored, np.full(len(scored), guess))
    validation, test = (
        pairing.score_units(trials, metric).pivot(index="seed", columns="lr", values="score").to_numpy("float64")
        for metric in ("val_accuracy", METRIC)
    )
    whole = ~(np.isnan(validation) | np.isnan(test)).any(axis=1)
    if whole.sum() < 2:
        return np.empty(0)
    scored = cross_fitted(validation[whole], test[whole])
    return normalised(scored, np.full(len(scored), guess))


def _stacked(scores: list[Array]) -> Array:
    longest = max(map(len, scores))
    return np.array([np.pad(of, (0, longest - len(of)), constant_values=np.nan) for of in scores])


def _summary(scores: Mapping[Any, Array]) -> str:
    means = {arm: np.nanmean(of, axis=1) for arm, of in scores.items()}
    ranks = mean_ranks(np.stack(list(means.values()), axis=1))
    said = [
        f"{formatting.value(arm)} {iqm(mean):.2f} and {rank:.1f}"
        for (arm, mean), rank in zip(means.items(), ranks, strict=True)
    ]
    return f"Interquartile mean and mean rank: {formatting.listing(said)}."
