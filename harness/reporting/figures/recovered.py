"""Does an arm recover what another loses against one big batch? A line for each seed over the three."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from harness.analysis import formatting, pairing
from harness.analysis.claims import Recovery, elsewhere, recoveries
from harness.analysis.metrics import METRICS, score_words
from harness.reporting.figures.frame import ReportFigure, canvas, color_of, counted, label_text, setting
from harness.spec.manifest import Manifest
from harness.storage.tables import Results

MOST_PANELS = 4


def recovered(results: Results) -> Iterator[ReportFigure]:
    """One picture for each claim `recovers`: what loses, the arm, one big batch; a panel for each grid point."""
    manifest = results.manifest
    for number, declared in enumerate(manifest.claims, start=1):
        claim = declared.claim
        if claim.kind != "recovers":
            continue
        found = [of for of in recoveries(claim, results) if len(of.local.differences)]
        shown = found[:MOST_PANELS]
        if not shown:
            continue
        with canvas(3.2) as figure:
            panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
            for axes, of in zip(panels, shown, strict=True):
                _slopes(axes, of, manifest)
                names = [label_text(of.local.than), label_text(of.local.arm), label_text(elsewhere(claim, manifest))]
                axes.set_xticks(range(3), names, rotation=20, ha="right")
                axes.set_title(label_text(formatting.point(of.local.point)))
            panels[0].set_ylabel(METRICS[claim.metric].words)
        left_out = f"Shown: {len(shown)} of {len(found)} grid points. " if len(found) > len(shown) else ""
        seeds = sorted({len(of.local.differences) for of in shown})
        yield ReportFigure(
            name=f"recovered_{number}",
            title=f"Does {formatting.value(claim.arm)} recover what {formatting.value(claim.than)} loses?",
            figure=figure,
            caption=(
                f"Every thin line is a seed, with a dot where it was trained: {formatting.value(claim.than)}, "
                f"which may "
                f"lose; {formatting.value(claim.arm)}; and {elsewhere(claim, manifest)}, the one big batch. Bars "
                f"are means. "
                f"{left_out}n = {formatting.listing(map(str, seeds))} seeds that have all three; no test is "
                f"made here, that "
                f"of the claim stands above. {counted(results.trials, manifest)} {score_words(claim.metric)} "
                f"{setting(results)}"
            ),
            alt=f"Slope lines per seed over three columns. Means: {formatting.listing(map(_said, shown))}.",
        )


def _columns(of: Recovery) -> tuple[Any, Any, Any]:
    """The scores of what loses, the arm, and one big batch; entry i of each is of one seed."""
    return of.local.theirs.scores, of.local.ours.scores, of.lost.ours.scores


def _slopes(axes: Axes, of: Recovery, manifest: Manifest) -> None:
    arms, columns = pairing.arms(manifest), _columns(of)
    tints = [color_of(arm, arms) for arm in (of.local.than, of.local.arm, of.lost.arm)]
    for seed in zip(*columns, strict=True):
        axes.plot(range(3), seed, lw=0.7, color="#9a9a9a", zorder=1)
    for place, (scores, tint) in enumerate(zip(columns, tints, strict=True)):
        axes.plot(np.full(len(scores), place), scores, "o", ms=3.6, mew=0, alpha=0.7, color=tint)
        axes.plot([place - 0.22, place + 0.22], [scores.mean()] * 2, lw=2.2, color=tint)
    axes.set_xlim(-0.4, 2.4)


def _said(of: Recovery) -> str:
    means = " to ".join(formatting.percent(float(scores.mean())) for scores in _columns(of))
    return f"{means}{f' at {formatting.point(of.local.point)}' if of.local.point else ''}"
