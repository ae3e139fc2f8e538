"""Several suites on one page: a line for each claim, with its verdict and the way to its report."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.analysis import formatting, pairing
from harness.analysis.judging import EXPLORATORY, REFUTED, SUPPORTED, VERDICTS
from harness.analysis.metrics import FAILED, FINISHED
from harness.analysis.stats import ALPHA
from harness.analysis.verdicts import Verdict, verdicts
from harness.io import write_atomically
from harness.reporting import pages
from harness.reporting.answer import answer
from harness.reporting.findings import mixed_words, short_finding
from harness.reporting.tables import Table
from harness.reporting.variants import claim_words
from harness.storage.tables import Results

NO_CLAIM = "no claim"


def write_overview(folder: Path, suites: Iterable[Results]) -> Path:
    """Write index.html and overview.md beside the folders of these results; the path of the page."""
    suites_judged = [(results, verdicts(results)) for results in suites]
    counts = Counter(verdict.word for _, judged in suites_judged for verdict in judged)
    facts = {
        "suites": [_suite_facts(results, judged) for results, judged in suites_judged],
        "claims": _claims(suites_judged),
        "error": _error_words([judged for _, judged in suites_judged]),
        "counts": formatting.listing(f"{counts[word]} {word}" for word in VERDICTS if counts[word]),
    }
    write_atomically(folder / "overview.md", pages.markdown("overview.md", facts))
    write_atomically(folder / "index.html", pages.page("overview.html", facts))
    return folder / "index.html"


def _suite_facts(results: Results, judged: list[Verdict]) -> dict[str, Any]:
    manifest, status = results.manifest, results.trials["status"]
    return {
        "name": manifest.name,
        "question": manifest.question,
        "folder": quote(manifest.name),
        "ended": int(status.isin(FINISHED).sum()),
        "total": manifest.trials,
        "failed": int(status.isin(FAILED).sum()),
        "verdicts": [
            (verdict, mixed_words(verdict), claim_words(verdict, manifest), short_finding(verdict))
            for verdict in judged
        ],
        "answer": answer(pairing.as_planned(results), judged).sentence,
    }


def _error_words(suites: list[list[Verdict]]) -> str:
    """How many verdicts there are to be wrong, and how likely one is: each suite is corrected for itself alone."""
    decided = [sum(verdict.word in (SUPPORTED, REFUTED) for verdict in judged) for judged in suites]
    n_claiming = sum(any(verdict.word != EXPLORATORY for verdict in judged) for judged in suites)
    verdicts = formatting.count(sum(map(len, suites)), "verdict")
    return (
        f"{verdicts}, {sum(decided)} of them supported or refuted. In each suite the chance of any wrong one is "
        f"{100 * ALPHA:.0f} % at most; over {formatting.count(n_claiming, 'suite')} up to "
        f"{formatting.number(ALPHA * n_claiming)} suites with a wrong one are to be expected."
    )


def _words(verdict: Verdict) -> str:
    """The word of a verdict, with those at its grid points where they differ."""
    return ": ".join(filter(None, [verdict.word, mixed_words(verdict)]))


def _claims(suites: list[tuple[Results, list[Verdict]]]) -> Table:
    """A row for each claim; one for a suite without any."""
    rows, links = [], []
    for results, judged in suites:
        manifest, name = results.manifest, results.manifest.name
        lines = [(_words(v), claim_words(v, manifest), short_finding(v)) for v in judged] or [
            (NO_CLAIM, manifest.question, "")
        ]
        rows += [[(text, "") for text in (name, *line)] for line in lines]
        links += [f"{quote(name)}/report/index.html"] * len(lines)
    columns = ("suite", "verdict", "claim", "what the data say")
    return Table(name="claims", label="Claims", columns=columns, rows=rows, links=tuple(links))
