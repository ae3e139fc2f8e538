"""Results in Python: what a run has found, as data frames, verdicts and figures."""

import base64
import html
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from harness.analysis import pairing
from harness.analysis.comparison import comparisons_frame
from harness.analysis.verdicts import Verdict, verdicts
from harness.errors import UsageError
from harness.reporting.figures import figures as report_figures
from harness.reporting.figures.frame import ReportFigure
from harness.reporting.figures.variants import variants_forest
from harness.reporting.figures.verdict import estimates
from harness.reporting.upkeep.update import update_report
from harness.storage import tables
from harness.storage.rechecking import read_findings
from harness.storage.records import ResultsDir

VERDICT_COLUMNS = ("verdict", "claim", "why")


@dataclass(frozen=True)
class Results:
    """What the run of a suite has found. In a notebook it shows its verdicts and the first picture.

    Data frames are copies: changing one changes no result.
    """

    tables: tables.Results

    @property
    def folder(self) -> Path:
        """Where the results lie."""
        return self.tables.folder

    @property
    def question(self) -> str:
        """What the suite asks."""
        return self.tables.manifest.question

    @property
    def trials(self) -> pd.DataFrame:
        """A row for each trial: its key, its settings, its status and its outcomes, as in trials.csv."""
        return self.tables.trials.copy()

    @property
    def curves(self) -> pd.DataFrame:
        """A row for each value that was measured on the way: key, step, epoch, split, metric, value."""
        return self.tables.curves.copy()

    @property
    def telemetry(self) -> pd.DataFrame:
        """A row for each trial that has ended: what it cost, and where it was trained."""
        return self.tables.telemetry.copy()

    @property
    def verdicts(self) -> pd.DataFrame:
        """A row for each claim: verdict (supported, refuted, undecided, descriptive or exploratory), claim, why."""
        rows = [(verdict.word, verdict.statement, verdict.sentence) for verdict in self._judged]
        return pd.DataFrame(rows, columns=list(VERDICT_COLUMNS))

    @property
    def comparisons(self) -> pd.DataFrame:
        """A row for each comparison that a verdict or a figure rests on, as in comparisons.csv."""
        judged = [comparison for verdict in self._judged for comparison in verdict.comparisons]
        drawn = [comparison for figure in self._drawn for comparison in figure.comparisons]
        return comparisons_frame([*judged, *drawn])

    @property
    def rechecked(self) -> pd.DataFrame:
        """A row for each trial that `recheck` trained again last: its key, and whether it was equal to the bit."""
        findings = read_findings(self.folder)
        return pd.DataFrame({"key": list(findings), "equal": list(findings.values())}).astype({"equal": bool})

    def figures(self) -> dict[str, Figure]:
        """Every figure of the report by its name, drawn anew: its axes can be restyled and saved."""
        named = pairing.as_planned(self.tables)
        drawn = [figure for figure in estimates(named, self._judged) if figure]
        drawn += variants_forest(named, self._judged)
        return {figure.name: figure.figure for figure in (*drawn, *report_figures(named))}

    def report(self) -> Path:
        """The page of the report, written where it is not there or out of date."""
        return update_report(ResultsDir(self.folder), self.tables.manifest)

    @cached_property
    def _judged(self) -> list[Verdict]:
        return verdicts(self.tables)

    @cached_property
    def _drawn(self) -> list[ReportFigure]:
        """The figures of the report, drawn once for all that rests on them."""
        return list(report_figures(pairing.as_planned(self.tables)))

    def __repr__(self) -> str:
        lines = [f"{self.question} ({self.folder})"]
        lines += [f"{verdict.word}: {verdict.statement}" for verdict in self._judged]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td><b>{html.escape(verdict.word)}</b></td><td style='text-align:left'>"
            f"{html.escape(verdict.statement)}<br><small>{html.escape(verdict.sentence)}</small></td></tr>"
            for verdict in self._judged
        )
        return f"<h4>{html.escape(self.question)}</h4><table>{rows}</table>{self._first_picture}"

    @cached_property
    def _first_picture(self) -> str:
        """The first figure as an element of a page; empty where there is none."""
        figure = next(iter(self._drawn), None)
        if figure is None:
            return ""
        data = base64.b64encode(figure.image("png")).decode()
        return f"<img alt='{html.escape(figure.alt, quote=True)}' src='data:image/png;base64,{data}'>"


def load(folder: str | Path) -> Results:
    """The results in a folder such as results/lr_sweep.

    Raises UsageError where there are none, DamageError where a table is damaged.
    """
    return Results(tables.read_results(folder))


def figures(results: Results | str | Path) -> dict[str, Figure]:
    """Every figure of the report by its name, such as "effect" or "claim_1": on Matplotlib axes, to restyle and save.

    `results` is what `run` or `load` returned, or the folder of results. Each call draws them anew. Raises as `load`.
    """
    if not isinstance(results, Results | str | Path):
        raise UsageError(f"figures needs Results or the folder of results, got {type(results).__name__}")
    return (results if isinstance(results, Results) else load(results)).figures()
