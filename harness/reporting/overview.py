"""Several suites on one page: a line for each claim, with its verdict and the way to its report."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from harness.analysis import formatting
from harness.analysis.claims import VERDICTS
from harness.analysis.metrics import FAILED, FINISHED
from harness.analysis.verdicts import Verdict, verdicts
from harness.io import write_atomically
from harness.reporting import pages
from harness.reporting.tables import Table
from harness.storage.tables import Results

NO_CLAIM = "no claim"


def write_overview(folder: Path, found: Iterable[Results]) -> Path:
    """Write index.html and overview.md beside the folders of these results; the path of the page."""
    judged = [(results, verdicts(results, np.random.default_rng(0))) for results in found]
    counts = Counter(verdict.word for _, of in judged for verdict in of)
    facts = {
        "suites": [_suite(results, of) for results, of in judged],
        "claims": _claims(judged),
        "counts": formatting.listing(f"{counts[word]} {word}" for word in VERDICTS if counts[word]),
    }
    write_atomically(folder / "overview.md", pages.markdown("overview.md", facts))
    write_atomically(folder / "index.html", pages.page("overview.html", facts))
    return folder / "index.html"


def _suite(results: Results, judged: list[Verdict]) -> dict[str, Any]:
    manifest, status = results.manifest, results.trials["status"]
    return {
        "name": manifest.name,
        "question": manifest.question,
        "folder": quote(manifest.name),
        "ended": int(status.isin(FINISHED).sum()),
        "total": manifest.trials,
        "failed": int(status.isin(FAILED).sum()),
        "verdicts": judged,
    }


def _claims(judged: list[tuple[Results, list[Verdict]]]) -> Table:
    """A row for each claim; one for a suite without any."""
    rows, links = [], []
    for results, of in judged:
        name = results.manifest.name
        said = [(v.word, v.statement, v.sentence) for v in of] or [(NO_CLAIM, results.manifest.question, "")]
        rows += [[(text, "") for text in (name, *line)] for line in said]
        links += [f"{quote(name)}/report/index.html"] * len(said)
    columns = ("suite", "verdict", "claim", "what the data say")
    return Table(name="claims", label="Claims", columns=columns, rows=rows, links=tuple(links))
