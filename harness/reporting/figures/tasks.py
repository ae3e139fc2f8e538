"""Over several tasks: how large a share of them does each arm solve how well? The tasks are the unit."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis import formatting, pairing
from harness.analysis.measures.measure import CHANCE, Measure
from harness.analysis.stats import iqm, mean_ranks, normalised, performance_profile
from harness.analysis.validation import over_lr
from harness.reporting.figures.drawing import canvas, guess_of
from harness.reporting.figures.frame import UNTESTED, ReportFigure, ResultSlice, points_of, report_figure
from harness.reporting.figures.style import label_text
from harness.reporting.figures.tuning import scores_by_lr, tuned_scores
from harness.storage.tables import Results

MIN_TASKS = 3  # a share of fewer says nothing
THRESHOLDS = np.linspace(0, 1, 101)


def task_profile(results: Results) -> Iterator[ReportFigure]:
    """The share of data sets on which an arm's normalised score exceeds each level (Agarwal et al. 2021)."""
    manifest = results.manifest
    metric = ResultSlice.whole(results).metric
    best = metric.high if metric.sign > 0 else metric.low  # without which nothing can be normalised
    if not np.isfinite(best) or manifest.compare == "dataset" or len(pairing.values(manifest, "dataset")) < MIN_TASKS:
        return
    rng = np.random.default_rng(0)  # resamples of seeds: the same every time
    for data in points_of(results, "dataset", *(["lr"] if over_lr(manifest) else [])):
        scores = _scores_by_task(data, best)
        tasks = len(next(iter(scores.values()))) if scores else 0
        if tasks < MIN_TASKS:
            continue
        with canvas(3.0, data.compare) as figure:
            axes = figure.subplots()
            for arm, scores_of_arm in scores.items():
                share, low, high = performance_profile(scores_of_arm, THRESHOLDS, rng)
                axes.fill_between(THRESHOLDS, low, high, step="post", alpha=0.2, lw=0, color=data.palette[arm])
                axes.step(THRESHOLDS, share, where="post", lw=1.6, label=label_text(arm), **data.line(arm))
            axes.set(xlabel=f"normalised {metric.words}, above", ylabel="share of tasks", ylim=(-0.03, 1.03))
        tuned = ", with the learning rate chosen on the other seeds" if over_lr(manifest) else ""
        yield report_figure(
            data,
            figure,
            name="tasks",
            title="How do the arms do over all tasks?",
            caption=(
                f"The share of {formatting.count(tasks, 'task')} on which the mean over seeds of {_formula(metric)} "
                f"exceeds each level{tuned}; bands are 95 % bootstrap intervals over seeds within each "
                f"task, and say nothing of other tasks. {_iqm_and_ranks(scores)} Tasks that an arm lacks are left out "
                f"of all."
            ),
            alt=(
                f"Falling step curves by arm of the share of tasks over normalised {metric.bare_words}. "
                f"{_iqm_and_ranks(scores)}"
            ),
            sample=f"n = {formatting.count(tasks, 'task')}, {UNTESTED}.",
        )


def _scores_by_task(data: ResultSlice, best: float) -> dict[Any, NDArray[np.float64]]:
    """Per arm its normalised scores [task, seed], NaN where a seed has none; of the tasks that all arms have."""
    by_task = {
        arm: {task: _task_scores(trials, data, best) for (task,), trials in rows.groupby(["dataset"], sort=False)}
        for arm, rows in data.by_arm(data.trials)
    }
    shared = [
        task
        for task in pairing.values(data.manifest, "dataset")
        if all(len(tasks.get(task, ())) for tasks in by_task.values())
    ]
    return {arm: _padded([tasks[task] for task in shared]) for arm, tasks in by_task.items()} if shared else {}


def _formula(metric: Measure) -> str:
    """How scores are normalised, in words."""
    if metric.policy is CHANCE:
        return "(accuracy - chance) / (1 - chance)"
    return "(score - guess) / (best - guess)"


def _task_scores(trials: pd.DataFrame, data: ResultSlice, best: float) -> NDArray[np.float64]:
    """The normalised score of each seed at one task."""
    guess = guess_of(trials, data.metric)
    if not over_lr(data.manifest):
        scored = pairing.score_units(trials, data.metric)["score"].dropna().to_numpy("float64")
        return normalised(scored, np.full(len(scored), guess), best)
    scores = scores_by_lr(trials, data)
    if len(scores[1]) < 2:
        return np.empty(0)
    tuned = np.asarray(tuned_scores(scores, data.metric), dtype=np.float64)
    return normalised(tuned, np.full(len(tuned), guess), best)


def _padded(scores: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    longest = max(map(len, scores))
    return np.array([np.pad(row, (0, longest - len(row)), constant_values=np.nan) for row in scores])


def _iqm_and_ranks(scores: Mapping[Any, NDArray[np.float64]]) -> str:
    means = {arm: np.nanmean(scores_of_arm, axis=1) for arm, scores_of_arm in scores.items()}
    ranks = mean_ranks(np.stack(list(means.values()), axis=1))
    parts = [
        f"{formatting.value(arm)} {iqm(mean):.2f} and {rank:.1f}"
        for (arm, mean), rank in zip(means.items(), ranks, strict=True)
    ]
    return f"Interquartile mean and mean rank: {formatting.listing(parts)}."
