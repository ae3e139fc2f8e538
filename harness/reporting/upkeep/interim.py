"""The page of a suite that is not finished: how far it is and what there is to see, in no word that a verdict has.

It is drawn again and again while a run is under way, so it is one file with the figures inside, and the report of the
finished suite takes its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import formatting, pairing
from harness.analysis.metrics import FAILED
from harness.io import write_unsynced
from harness.reporting import pages
from harness.reporting.figures.curves import learning_curves
from harness.reporting.figures.frame import ReportFigure
from harness.reporting.figures.own_curves import logged_curves
from harness.reporting.figures.ranges import failure_map
from harness.reporting.page_parts import embedded
from harness.reporting.tables import Table, trials_table
from harness.reporting.upkeep.staleness import page_of
from harness.spec.manifest import Manifest, is_own, measured_of, trials_of
from harness.spec.own_training.own_trial import AnyTrial
from harness.storage.merge_cache import stat_identity
from harness.storage.records import TELEMETRY, Record, ResultsDir, read_manifest, read_records
from harness.storage.tables import Results, curves_table
from harness.storage.tables import trials_table as table_of_records

RELOAD_SECONDS = 60


@dataclass(slots=True)
class InterimPage:
    """The page of one suite, and what was read and drawn for it before, which need not be done again."""

    results_dir: ResultsDir
    records: dict[str, Record] = field(default_factory=dict)
    figures: list[dict[str, Any]] = field(default_factory=list)

    def write(self, now: datetime, stopped: str = "", command: str = "") -> None:
        """Write the page as of `now`, of a run that is under way unless it was `stopped`, for this reason.

        Where somebody else writes a page in the meantime, which may be the finished report, that one stays.
        """
        page = page_of(self.results_dir.root)
        before = _identity(page)
        manifest = read_manifest(self.results_dir)
        if manifest is None:
            return
        results, has_more = self._read(manifest)
        if not self.records:
            return
        if has_more or not self.figures:
            self.figures = [embedded(f, {f"{f.name}.svg": f.image("svg")}) for f in _figures(results)]
        data = pages.page("interim.html", _facts(results, self.figures, now, stopped, command))
        if _identity(page) == before:
            write_unsynced(page, data)

    def _read(self, manifest: Manifest) -> tuple[Results, bool]:
        """The results so far, and whether there are more than there were."""
        trials = trials_of(manifest, self.results_dir.manifest)
        missing = [trial.key for trial in trials if trial.key not in self.records]
        more, _ = read_records(self.results_dir, missing)
        self.records |= more
        return pairing.as_planned(results_of(self.results_dir, manifest, trials, self.records)), bool(more)


def results_of(
    results_dir: ResultsDir, manifest: Manifest, trials: Sequence[AnyTrial], records: Mapping[str, Record]
) -> Results:
    """The records of these trials as results; without telemetry, of which no page of an unfinished suite speaks."""
    table = table_of_records(results_dir, trials, records, measured_of(manifest))
    texts = {name: "" for name, kind in table.dtypes.astype(str).items() if kind == "str"}
    ended = [records[trial.key] for trial in trials if trial.key in records]
    return Results(
        folder=results_dir.root,
        manifest=manifest,
        trials=table.fillna(texts),
        curves=curves_table(ended).to_pandas(),
        telemetry=pd.DataFrame(columns=list(TELEMETRY)),
    )


@np.errstate(over="ignore", invalid="ignore")
def _figures(results: Results) -> list[ReportFigure]:
    """How training goes and where it fails: what was measured, and nothing that compares arms."""
    curves = logged_curves if is_own(results.manifest) else learning_curves
    return [*curves(results), *failure_map(results)]


def _facts(
    results: Results, figures: list[dict[str, Any]], now: datetime, stopped: str, command: str
) -> dict[str, Any]:
    trials, manifest = results.trials, results.manifest
    ended = trials[trials["status"] != "interrupted"]
    return {
        "manifest": manifest,
        "ended": len(ended),
        "as_of": f"{now:%Y-%m-%d %H:%M} UTC",
        "reload": 0 if stopped else RELOAD_SECONDS,
        "stopped": stopped,
        "command": command,
        "arms": _arms_table(manifest, trials),
        "figures": figures,
        "trials": trials_table("trials", "Trials that have ended", ended, manifest),
    }


def _arms_table(manifest: Manifest, trials: pd.DataFrame) -> Table:
    """How many trials of each arm have ended, and how many of these have failed to train."""
    rows = []
    for arm in pairing.arms(manifest):
        status = trials.loc[trials[manifest.compare] == arm, "status"]
        counts = ((status != "interrupted").sum(), len(status), status.isin(FAILED).sum())
        rows.append([(formatting.value(arm), ""), *((str(count), repr(float(count))) for count in counts)])
    columns = (formatting.axis(manifest.compare), "ended", "of", "failed to train")
    return Table(name="arms", label="How far each arm is", columns=columns, rows=rows)


def _identity(page: Path) -> list[int] | None:
    """What changes with every writing of the page; None where there is none."""
    try:
        return stat_identity(page.stat())
    except OSError:
        return None
