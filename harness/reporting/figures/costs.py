"""What does a step cost? Ratios of step times, one dot for each pair of trials, for the claims that ask."""

from collections.abc import Iterator

import numpy as np
from matplotlib.ticker import LogLocator

from harness.analysis import formatting, pairing
from harness.analysis.stats import mean_interval
from harness.reporting.figures.frame import (
    ReportFigure,
    canvas,
    color_of,
    counted,
    label_text,
    plain_numbers,
    setting,
    shared_xlabel,
)
from harness.spec.claim import Claim
from harness.storage.tables import Results

ROW = 0.42  # inches


def step_costs(results: Results) -> Iterator[ReportFigure]:
    """One picture for each claim on costs: a row for each grid point, on a log axis with a line at 1."""
    for number, declared in enumerate(results.manifest.claims, start=1):
        claim = declared.claim
        if claim.kind != "costs":
            continue
        here = pairing.matching(results.trials, claim.where)
        found = [pairs for pairs in pairing.cost_pairs(results, here, claim.arm, claim.than) if len(pairs.differences)]
        if found:
            yield _picture(results, claim, f"costs_{number}", found)


def _picture(results: Results, claim: Claim, name: str, found: list[pairing.Pairs]) -> ReportFigure:
    arms, said = pairing.arms(results.manifest), []
    with canvas(1.5 + ROW * len(found)) as figure:
        axes = figure.subplots()
        axes.axvline(1, color="black", lw=1)
        axes.axvline(claim.margin, color="#777777", lw=1, ls=(0, (4, 2)))
        for row, pairs in enumerate(found):
            ratios, (mean, low, high) = np.exp(-pairs.differences), mean_interval(pairs.differences)
            axes.plot(ratios, np.full(len(ratios), row), "o", ms=4, mew=0, alpha=0.5, color=color_of(claim.arm, arms))
            if not np.isnan(low):
                axes.plot(np.exp([-low, -high]), [row, row], color="black", lw=1.4, solid_capstyle="butt")
            axes.plot([np.exp(-mean)], [row], "D", ms=5, color="black")
            where = f"at {formatting.point(pairs.point)} " if pairs.point else ""
            said.append(f"{where}{formatting.number(float(np.exp(-mean)))} times (n = {len(ratios)})")
        axes.set_yticks(range(len(found)), [label_text(formatting.point(pairs.point)) for pairs in found])
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.set_xscale("log")
        plain_numbers(axes.xaxis)
        axes.xaxis.set_minor_locator(LogLocator(subs=(1.2, 1.5, 2, 3, 5, 7)))
        axes.xaxis.set_minor_formatter(axes.xaxis.get_major_formatter())
        axes.tick_params(axis="x", which="minor", labelsize=7)
        shared_xlabel(
            figure, f"time of a step with {label_text(claim.arm)}, in times of that with {label_text(claim.than)}"
        )
    return ReportFigure(
        name=name,
        title=f"What does a step cost with {formatting.value(claim.arm)}?",
        figure=figure,
        caption=(
            "Each dot is the ratio of the times of a step in two trials with one seed; diamonds are geometric means, "
            f"bars their 95 % t intervals over the logarithms. Solid line: equal; dashed: the claim's "
            f"{formatting.number(claim.margin)} times. Trials that trained together are one measurement. "
            f"{counted(results.trials, results.manifest)} {setting(results)}"
        ),
        alt=(
            f"A step with {formatting.value(claim.arm)} takes, in times of one with {formatting.value(claim.than)}: "
            f"{'; '.join(said)}."
        ),
    )
