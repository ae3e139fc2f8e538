"""The parts of a page in their order: the answer with its picture, a line for each claim, the other figures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from harness.analysis.comparison import Comparison
from harness.analysis.verdicts import Verdict
from harness.reporting.answer import answer
from harness.reporting.figures import ReportFigure
from harness.reporting.findings import judged_points, mixed_words, point_finding, short_finding
from harness.reporting.next_steps import NextStep, next_step
from harness.reporting.svg import inlined
from harness.reporting.tables import Table, comparisons_table
from harness.reporting.variants import claim_words
from harness.storage.tables import Results

MAX_POINTS_LISTED = 12  # grid points of a claim that have a line each


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictLine:
    """One claim as the page has it: a short line, and what stands behind it."""

    number: int
    word: str
    mixed: str  # how many grid points have which word; empty where all have the same
    claim: str
    finding: str
    points: Sequence[tuple[str, str, str]]  # word, grid point and finding of each, where there are several
    points_left_out: int
    sentence: str
    declared_after: int
    step: NextStep | None
    comparisons: tuple[Comparison, ...]
    figure: ReportFigure | None = None  # None where it is the first picture of the page already


def page_parts(
    results: Results,
    judged: Sequence[Verdict],
    of_verdicts: Sequence[ReportFigure | None],
    drawn: Sequence[ReportFigure],
) -> dict[str, Any]:
    """What the templates show first, a line for each verdict, and the figures that are left: none is shown twice."""
    said = answer(results, judged)
    by_name = {figure.name: figure for figure in (*of_verdicts, *drawn) if figure}
    hero = next(filter(None, (_named(name, by_name, results, said.at) for name in said.pictures)), None)
    lines = [
        _line(number, verdict, figure if figure is not hero else None, results)
        for number, (verdict, figure) in enumerate(zip(judged, of_verdicts, strict=True), start=1)
    ]
    return {
        "answer": said.sentence,
        "hero": hero,
        "verdicts": lines,
        "figures": [figure for figure in drawn if figure is not hero],
    }


def _named(name: str, by_name: Mapping[str, ReportFigure], results: Results, at: Sequence[str]) -> ReportFigure | None:
    """The figure of this name, of several grid points that of these settings, which its title names, or the first.

    One of effects has to show a claim's metric.
    """
    several = [figure for known, figure in by_name.items() if re.fullmatch(rf"{name}(_\d+)?", known)]
    of_point = [f for f in several if all(re.search(rf"{re.escape(setting)}[,)]", f.title) for setting in at)]
    figure = next(iter([*of_point, *several]), None)
    if figure is None or name != "effect":
        return figure
    metrics = {declared.claim.metric for declared in results.manifest.claims}
    return figure if any(comparison.metric in metrics for comparison in figure.comparisons) else None


def _line(number: int, verdict: Verdict, figure: ReportFigure | None, results: Results) -> VerdictLine:
    points = judged_points(verdict)
    listed = points[:MAX_POINTS_LISTED] if len(points) > 1 else []
    return VerdictLine(
        number=number,
        word=verdict.word,
        mixed=mixed_words(verdict),
        claim=claim_words(verdict, results.manifest),
        finding=short_finding(verdict),
        points=[(c.verdict, c.point, point_finding(c)) for c in listed],
        points_left_out=len(points) - len(listed) if listed else 0,
        sentence=verdict.sentence,
        declared_after=verdict.declared_after,
        step=next_step(verdict, results.manifest.claims[number - 1], results.manifest),
        comparisons=verdict.comparisons,
        figure=figure,
    )


def numbers_table(name: str, title: str, source: VerdictLine | ReportFigure) -> Table:
    """The comparisons that a part of the page rests on."""
    return comparisons_table(f"numbers-{name}", f"Numbers: {title}", source.comparisons)


def embedded(figure: ReportFigure, images: Mapping[str, bytes]) -> dict[str, Any]:
    """A figure as the page has it: its SVG is part of the page."""
    return {
        "name": figure.name,
        "title": figure.title,
        "caption": figure.caption,
        # What an SVG holds of a suite's own texts was escaped when it was written.
        "svg": Markup(inlined(images[f"{figure.name}.svg"], figure.name, figure.alt)),  # noqa: S704
    }
