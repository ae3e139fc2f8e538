"""Does an arm recover what another loses against one big batch? A line for each seed over the three."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import formatting
from harness.analysis.claim_pairs import other_arm_words
from harness.analysis.claims.recovers import Recovery, recoveries
from harness.analysis.measures.measure import Measure
from harness.analysis.metrics import metrics_of
from harness.reporting.figures.drawing import canvas, score_axis, seeds_over_columns
from harness.reporting.figures.frame import UNTESTED, ReportFigure, ResultSlice, claims_of, report_figure
from harness.reporting.figures.style import label_text
from harness.storage.tables import Results

MAX_PANELS = 4


def recovered(results: Results) -> Iterator[ReportFigure]:
    """One figure for each claim `recovers`: what loses, the arm, one big batch; a panel for each grid point."""
    data = ResultSlice.whole(results)
    for number, claim in claims_of(results, "recovers"):
        points = [recovery for recovery in recoveries(claim, results) if len(recovery.local.differences)]
        shown = points[:MAX_PANELS]
        if not shown:
            continue
        metric = metrics_of(data.manifest)[claim.metric]
        big_batch = other_arm_words(claim, data.manifest)
        with canvas(3.2) as figure:
            panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
            for axes, recovery in zip(panels, shown, strict=True):
                arms = (recovery.local.than, recovery.local.arm, recovery.lost.arm)
                colors = [data.palette[arm] for arm in arms]
                seeds_over_columns(axes, pd.DataFrame(_scores_of(recovery)).T, colors)
                names = [label_text(name) for name in (claim.than, claim.arm, big_batch)]
                axes.set_xticks(range(3), names, rotation=20, ha="right")
                axes.set_title(label_text(formatting.point(recovery.local.point)))
            panels[0].set_ylabel(metric.axis_words)
            score_axis(panels[0], np.concatenate([np.ravel(_scores_of(r)) for r in shown]), metric)
        means = [_means_in_words(recovery, metric) for recovery in shown]
        seeds_at = [str(n) for n in sorted({len(recovery.local.differences) for recovery in shown})]
        yield report_figure(
            data,
            figure,
            name=f"recovered_{number}",
            title=f"Does {formatting.value(claim.arm)} recover what {formatting.value(claim.than)} loses?",
            caption=(
                f"Every thin line is a seed, with a dot where it was trained: {formatting.value(claim.than)}, "
                f"which may lose; {formatting.value(claim.arm)}; and {big_batch}, the one big batch. Bars are means."
            ),
            alt=f"Slope lines per seed over three columns. Means: {formatting.listing(means)}.",
            shown=(len(shown), len(points), "grid points"),
            sample=f"n = {formatting.listing(seeds_at)} seeds that have all three, {UNTESTED}.",
        )


def _scores_of(recovery: Recovery) -> tuple[Any, Any, Any]:
    """The scores of what loses, the arm, and one big batch; entry i of each is of one seed."""
    return recovery.local.theirs.scores, recovery.local.ours.scores, recovery.lost.ours.scores


def _means_in_words(recovery: Recovery, metric: Measure) -> str:
    means = " to ".join(formatting.level(float(scores.mean()), metric.unit) for scores in _scores_of(recovery))
    return f"{means}{f' at {formatting.point(recovery.local.point)}' if recovery.local.point else ''}"
