"""The report: verdicts, figures and tables on one page that needs no network, and the files beside it."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analysis import comparison, formatting, pairing
from harness.analysis.comparison import Comparison
from harness.analysis.looking.growth import growth_words
from harness.analysis.metrics import FAILED, FINISHED, judged_by, score_words
from harness.analysis.verdicts import verdicts
from harness.io import remove_file, write_atomically
from harness.reporting import latex, pages
from harness.reporting.figures import MAX_POINTS, figures, points_left_out
from harness.reporting.figures.frame import ResultSlice, claimed_metric, failures, setting
from harness.reporting.figures.variants import variants_forest
from harness.reporting.figures.verdict import estimates
from harness.reporting.next_steps import run_command
from harness.reporting.page_parts import embedded, numbers_table, page_parts
from harness.reporting.printing import draw_and_print
from harness.reporting.tables import comparisons_table, failures_table, trials_table
from harness.reporting.upkeep.staleness import IMAGE_FORMATS, digest_of, is_whole, page_of
from harness.spec.manifest import Manifest, differing_members, is_own, kinds_of_machines
from harness.storage.csv_files import csv_bytes
from harness.storage.rechecking import read_findings
from harness.storage.tables import Results

# Of own training: what holds whatever the function does, and what rests on it.
VOUCHED = "the pairing by seed, the statistics, and that no trial is lost or counted twice"
NOT_VOUCHED = "equal bits when a trial is run again, nor for what arms of one seed share, such as initial weights"


def write_report(results: Results) -> Path:
    """Write comparisons.csv, report.md, and report/ with its page, figures and table.tex; the path of the page.

    The same results give the same bytes; where the page was made from the same results already, it is left alone.
    """
    page, digest = page_of(results.folder), digest_of(results.folder, results.manifest)
    if is_whole(page, digest):
        return page
    results, folder = pairing.as_planned(results), page.parent / "figures"
    judged = verdicts(results)
    printed, images = draw_and_print(
        chain(estimates(results, judged), variants_forest(results, judged), figures(results))
    )
    of_verdicts, drawn = printed[: len(judged)], [figure for figure in printed[len(judged) :] if figure]
    comparisons = [c for verdict in judged for c in verdict.comparisons]
    comparisons += [c for figure in drawn for c in figure.comparisons]
    write_atomically(results.folder / "comparisons.csv", csv_bytes(comparison.comparisons_frame(comparisons)))
    for name, data in images.items():
        write_atomically(folder / name, data)
    _remove_others(folder, set(images))
    facts = _template_facts(results, comparisons)
    facts |= page_parts(results, judged, of_verdicts, drawn)
    write_atomically(results.folder / "report.md", pages.markdown("report.md", facts))
    groups = [(v.statement, v.comparisons) for v in judged]
    groups += [(figure.title, figure.comparisons) for figure in drawn]
    write_atomically(page.parent / "table.tex", latex.latex_table(groups).encode())
    # The page comes last: with its digest it vouches for the others.
    write_atomically(page, _page(facts, images, digest))
    return page


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove figures that an earlier report had and this one has not: the folder is to depend on the results alone."""
    for path in sorted(folder.glob("*")):
        if path.name not in names and path.suffix.removeprefix(".") in IMAGE_FORMATS and not path.is_dir():
            remove_file(path)


def _template_facts(results: Results, comparisons: list[Comparison]) -> dict[str, Any]:
    """What the templates say of the results."""
    manifest, trials, telemetry = results.manifest, results.trials, results.telemetry
    failed, ended = trials["status"].isin(FAILED), trials["status"].isin(FINISHED)
    missing = trials[~ended & (trials["status"] != "interrupted")]
    return {
        "manifest": manifest,
        "max_points": MAX_POINTS,
        "is_own": is_own(manifest),
        "scored": score_words(claimed_metric(manifest) or judged_by(manifest)),
        "failures_by_arm": failures(ResultSlice.whole(results)),
        "setting": setting(manifest),
        "growth": growth_words(trials, manifest),
        "replication": replication(manifest, read_findings(results.folder)),
        "points_left_out": points_left_out(results),
        "ended": int(ended.sum()),
        "total": manifest.trials,
        "failed": int(failed.sum()),
        "limits": [
            *_limitations(trials[ended], manifest, all_failed=bool(failed.sum() and failed.sum() == ended.sum())),
            *_equal_arms(results),
        ],
        "trials": trials_table("trials", "Trials", trials, manifest),
        "comparisons": comparisons_table("comparisons", "All comparisons", comparisons),
        "failures": failures_table(trials[failed], manifest),
        "missing": trials_table("missing", "Trials without a result", missing, manifest),
        "axes": {axis: [formatting.value(value) for value in values] for axis, values in manifest.axes.items()},
        "following": manifest.following,
        "settings": {
            name: formatting.value(value) for name, value in manifest.settings.items() if value not in (None, "")
        },
        "machine": _machine(manifest),
        "seconds": float(telemetry[["seconds_train", "seconds_eval"]].astype("float64").sum().sum()),
        "commits": sorted(set(telemetry["commit"].dropna().astype(str))),
        "commands": _commands(manifest, telemetry),
    }


def replication(manifest: Manifest, rechecked: Mapping[str, bool]) -> str:
    """What arms of one seed share, and what a trial that failed to train counts as."""
    scored = judged_by(manifest)
    if is_own(manifest):
        return (
            "The seed is the unit of replication: arms that share a seed are compared in pairs. Trials are trained by "
            f"code of the suite's own. The harness vouches for {VOUCHED}. It can't vouch for {NOT_VOUCHED}. "
            f"{_trained_again(rechecked)} A trial of which an outcome is not finite is never dropped: in means its "
            f"{scored.words} counts as {scored.policy.words}."
        )
    return (
        "The seed is the unit of replication: arms that share a seed share initial weights and the order of batches, "
        "and are compared in pairs. A trial that fails to train is never dropped: in means its "
        f"{scored.words.removeprefix('test ')} counts as guessing, its loss as the loss at initialisation, its time to "
        "the target as the whole budget."
    )


def _trained_again(rechecked: Mapping[str, bool]) -> str:
    """What training a sample again has shown of that."""
    if not rechecked:
        return "No trial was trained twice to see (run --recheck)."
    count = formatting.count(len(rechecked), "trial")
    return f"Of {count} trained twice, {sum(rechecked.values())} came to the same bits."


def _machine(manifest: Manifest) -> dict[str, Any]:
    """What the results were made on; where that is several kinds of machines, what these differ in."""
    kinds = kinds_of_machines(manifest)
    differing = differing_members(kinds)
    facts = {
        **manifest.machine,
        **manifest.fingerprint,
        **{name: ", ".join(texts) for name, texts in differing.items()},
    }
    if not differing:
        return facts
    return {"made on": f"{len(kinds)} kinds of machines, which differ in {', '.join(differing)}", **facts}


def _limitations(ended: pd.DataFrame, manifest: Manifest, *, all_failed: bool) -> list[str]:
    """What these results can't show, as sentences for the top of the page."""
    arms, seeds = ended[manifest.compare].nunique(), ended["seed"].nunique()
    limits = {
        "Nothing has been trained yet.": ended.empty,
        "One arm alone has results: nothing can be compared.": arms == 1,
        "All results are of one seed: they are descriptive, and say nothing of other seeds.": seeds == 1,
        "Every trial that ended has failed to train.": all_failed,
    }
    return [sentence for sentence, holds in limits.items() if holds]


def _equal_arms(results: Results) -> Iterator[str]:
    """Which arms are one, and whether that is a finding or a fault."""
    compare = results.manifest.compare
    is_computed = compare in pairing.COMPUTE_AXES
    meaning = (
        f"{formatting.axis(compare)} changes how they are computed, and not what they come to."
        if is_computed
        else f"{formatting.axis(compare)} has not reached the training, and no verdict rests on them."
    )
    for group in pairing.equal_arms(results):
        *names, last = map(formatting.value, group)
        yield f"The arms {', '.join(names)} and {last} are equal to the bit in all trials: {meaning}"


def _commands(manifest: Manifest, telemetry: pd.DataFrame) -> list[str]:
    """What to type in a checkout to get these results; with the commit, where one commit made all of them."""
    commits = set(telemetry["commit"].dropna().astype(str))
    is_dirty = telemetry["dirty"].astype(str).str.lower().eq("true").any()
    checkout = [f"git checkout {commits.pop()}"] if len(commits) == 1 and not is_dirty else []
    return [*checkout, run_command(manifest)]


def _page(facts: Mapping[str, Any], images: Mapping[str, bytes], digest: str) -> bytes:
    """The page, with the figures and the numbers that each of its parts rests on inside."""
    lines = [
        (line, line.figure and embedded(line.figure, images), numbers_table(f"claim-{line.number}", line.claim, line))
        for line in facts["verdicts"]
    ]
    drawn = [
        (embedded(figure, images), numbers_table(figure.name, figure.title, figure)) for figure in facts["figures"]
    ]
    hero = facts["hero"] and embedded(facts["hero"], images)
    return pages.page("page.html", {**facts, "verdicts": lines, "figures": drawn, "hero": hero, "digest": digest})
