"""The report: verdicts, figures and tables on one page that needs no network, and the files beside it."""

import base64
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import comparison, formatting, pairing
from harness.analysis.claims import KINDS
from harness.analysis.metrics import FAILED, FINISHED
from harness.analysis.stats.paired import MOST_EXACT
from harness.analysis.verdicts import Verdict, verdicts
from harness.io import write_atomically
from harness.reporting import latex, pages
from harness.reporting.figures import MAX_POINTS, ReportFigure, figures, points_left_out
from harness.reporting.figures.verdict import estimates
from harness.reporting.staleness import FORMATS, digest_of, is_whole, page_of
from harness.reporting.tables import Table, comparisons_table, failures_table, trials_table
from harness.spec.manifest import Manifest
from harness.storage.csv_files import csv_bytes
from harness.storage.tables import Results


def write_report(results: Results) -> Path:
    """Write comparisons.csv, report.md, and report/ with its page, figures and table.tex; the path of the page.

    The same results give the same bytes; where the page was made from the same results already, it is left alone.
    """
    page, digest = page_of(results.folder), digest_of(results.folder, results.manifest)
    if is_whole(page, digest):
        return page
    results, folder = pairing.named_arms(results), page.parent / "figures"
    rng = np.random.default_rng(0)  # signs of sign-flip tests above 20 seeds: the same report every time
    judged, drawn = verdicts(results, rng), figures(results)
    found = [c for verdict in judged for c in verdict.comparisons]
    found += [c for picture in drawn for c in picture.comparisons]
    write_atomically(results.folder / "comparisons.csv", csv_bytes(comparison.comparisons_frame(found)))
    of_verdicts = list(estimates(judged))
    images = {name: data for picture in [*filter(None, of_verdicts), *drawn] for name, data in picture.files().items()}
    for name, data in images.items():
        write_atomically(folder / name, data)
    _remove_others(folder, set(images))
    facts = _facts(results, judged, drawn)
    facts |= {"verdicts": list(zip(judged, of_verdicts, strict=True)), "pictures": drawn}
    write_atomically(results.folder / "report.md", pages.markdown("report.md", facts))
    groups = [(v.statement, v.comparisons, KINDS[v.claim.kind].is_equivalence) for v in judged]
    groups += [(picture.title, picture.comparisons, False) for picture in drawn]
    write_atomically(page.parent / "table.tex", latex.table(groups).encode("utf-8", "backslashreplace"))
    # The page comes last: with its digest it vouches for the others.
    write_atomically(page, _page(facts, images, digest))
    return page


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove figures that an earlier report had and this one has not: the folder is to depend on the results alone."""
    for path in sorted(folder.glob("*")):
        if path.name not in names and path.suffix.removeprefix(".") in FORMATS:
            path.unlink()


def _facts(results: Results, judged: list[Verdict], drawn: list[ReportFigure]) -> dict[str, Any]:
    """All that the templates say."""
    manifest, trials, telemetry = results.manifest, results.trials, results.telemetry
    failed, ended = trials["status"].isin(FAILED), trials["status"].isin(FINISHED)
    without = trials[~ended & (trials["status"] != "interrupted")]
    found = [c for verdict in judged for c in verdict.comparisons] + [c for of in drawn for c in of.comparisons]
    return {
        "manifest": manifest,
        "most_points": MAX_POINTS,
        "most_exact": MOST_EXACT,
        "points_left_out": points_left_out(results),
        "ended": int(ended.sum()),
        "total": manifest.trials,
        "failed": int(failed.sum()),
        "limits": _limits(trials[ended], manifest, all_failed=bool(failed.sum() and failed.sum() == ended.sum())),
        "trials": trials_table("trials", "Trials", trials, manifest),
        "comparisons": comparisons_table("comparisons", "All comparisons", found),
        "failures": failures_table(trials[failed], manifest),
        "missing": trials_table("missing", "Trials without a result", without, manifest),
        "axes": {axis: [formatting.value(value) for value in values] for axis, values in manifest.axes.items()},
        "following": manifest.following,
        "settings": {
            name: formatting.value(value) for name, value in manifest.settings.items() if value not in (None, "")
        },
        "machine": {**manifest.machine, **manifest.fingerprint},
        "seconds": float(telemetry[["seconds_train", "seconds_eval"]].astype("float64").sum().sum()),
        "commits": sorted(set(telemetry["commit"].dropna().astype(str))),
        "commands": _commands(manifest, telemetry),
    }


def _limits(ended: pd.DataFrame, manifest: Manifest, *, all_failed: bool) -> list[str]:
    """What these results can't show, as sentences for the top of the page."""
    arms, seeds = ended[manifest.compare].nunique(), ended["seed"].nunique()
    said = {
        "Nothing has been trained yet.": ended.empty,
        "One arm alone has results: nothing can be compared.": arms == 1,
        "All results are of one seed: they are descriptive, and say nothing of other seeds.": seeds == 1,
        "Every trial that ended has failed to train.": all_failed,
    }
    return [sentence for sentence, holds in said.items() if holds]


def _commands(manifest: Manifest, telemetry: pd.DataFrame) -> list[str]:
    """What to type in a checkout to get these results; with the commit, where one commit made all of them."""
    commits = set(telemetry["commit"].dropna().astype(str))
    changed = telemetry["dirty"].fillna(False).astype(str).str.lower().eq("true").any()
    checkout = [f"git checkout {commits.pop()}"] if len(commits) == 1 and not changed else []
    return [*checkout, f"python -m harness run {shlex.quote(manifest.path)}"]


def _page(facts: Mapping[str, Any], images: Mapping[str, bytes], digest: str) -> bytes:
    verdicts = [
        (verdict, picture and _embedded(picture, images), _numbers(f"claim-{i}", verdict.statement, verdict))
        for i, (verdict, picture) in enumerate(facts["verdicts"], start=1)
    ]
    shown = [(_embedded(of, images), _numbers(of.name, of.title, of)) for of in facts["pictures"]]
    return pages.page("page.html", {**facts, "verdicts": verdicts, "pictures": shown, "digest": digest})


def _numbers(name: str, title: str, of: Verdict | ReportFigure) -> Table:
    return comparisons_table(f"numbers-{name}", f"Numbers: {title}", of.comparisons)


def _embedded(picture: ReportFigure, images: Mapping[str, bytes]) -> dict[str, Any]:
    """A picture as the page has it: with its SVG inside."""
    data = base64.b64encode(images[f"{picture.name}.svg"]).decode()
    return {
        "name": picture.name,
        "title": picture.title,
        "caption": picture.caption,
        "alt": picture.alt,
        "source": f"data:image/svg+xml;base64,{data}",
    }
