"""The report: verdicts, figures and tables on one page that needs no network, and the files beside it."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from harness.errors import DamageError
from harness.files import read_bytes, write_atomically
from harness.reporting import comparison, grid, words
from harness.reporting.claims import Verdict, verdicts
from harness.reporting.figures import Picture, pictures
from harness.reporting.metrics import FAILED, FINISHED
from harness.store import TABLES, Results, csv_bytes

TEMPLATES = files("harness.reporting") / "templates"
MOST_ROWS = 2000  # of the table of trials on the page
MAX_PAGE_BYTES = 2**28
OUTCOMES = ("status", "test_accuracy", "val_accuracy", "train_loss", "steps_to_target", "fail_step")
DIGEST = re.compile(rb'<meta name="inputs" content="([0-9a-f]{64})">')


def write_report(results: Results) -> Path:
    """Write comparisons.csv, report.md, and report/ with its page and figures; the path of the page.

    The same results give the same bytes; where the page was made from the same results already, it is left alone.
    """
    page = results.folder / "report" / "index.html"
    digest = _digest(results)
    if _made_from(page) == digest:
        return page
    rng = np.random.default_rng(0)  # signs of sign-flip tests above 20 seeds: the same report every time
    judged, drawn = verdicts(results, rng), pictures(results)
    found = [c for verdict in judged for c in verdict.comparisons] + [
        c for picture in drawn for c in picture.comparisons
    ]
    write_atomically(results.folder / "comparisons.csv", csv_bytes(comparison.table(found)))
    images = {}
    for picture in drawn:
        for name, data in picture.files().items():
            write_atomically(page.parent / "figures" / name, data)
            images[name] = data
    facts = _facts(results, judged, drawn)
    write_atomically(results.folder / "report.md", _markdown(facts).encode())
    # The page comes last: with its digest it vouches for the others.
    write_atomically(page, _page(facts, images, digest).encode())
    return page


def _digest(results: Results) -> str:
    """A digest of all that a report is made from: the results, and the code and templates that make it."""
    sums = hashlib.sha256(json.dumps(results.suite, sort_keys=True, default=str).encode())
    data = sorted((results.folder / "data").glob("*.npz"))
    code = sorted(path for path in Path(__file__).parent.rglob("*") if path.is_file() and path.suffix != ".pyc")
    for path in [*(results.folder / name for name in TABLES), *data, *code]:
        content = read_bytes(path, at_most=2**30) if path.exists() else b""
        sums.update(hashlib.sha256(content).digest())
    return sums.hexdigest()


def _made_from(page: Path) -> str | None:
    """The digest that stands in a page."""
    try:
        found = DIGEST.search(read_bytes(page, at_most=MAX_PAGE_BYTES)[:4096])
    except (FileNotFoundError, DamageError):
        return None
    return found[1].decode() if found else None


def _facts(results: Results, judged: list[Verdict], drawn: list[Picture]) -> dict[str, Any]:
    """All that the templates say."""
    suite, trials = results.suite, results.trials
    failed, ended = trials["status"].isin(FAILED), trials["status"].isin(FINISHED)
    return {
        "suite": suite,
        "verdicts": judged,
        "pictures": drawn,
        "ended": int(ended.sum()),
        "total": int(suite["trials"]),
        "failed": int(failed.sum()),
        "statuses": trials["status"].value_counts().to_dict(),
        "table": _rows(trials, suite),
        "failures": _failures(trials[failed], suite),
        "missing": _rows(trials[~ended & (trials["status"] != "interrupted")], suite),
        "most_rows": MOST_ROWS,
        "axes": {axis: [words.value(value) for value in values] for axis, values in suite["axes"].items()},
        "settings": {name: words.value(value) for name, value in suite["settings"].items() if value not in (None, "")},
        "machine": {**suite.get("machine", {}), **suite.get("fingerprint", {})},
        "seconds": float(results.telemetry[["seconds_train", "seconds_eval"]].astype("float64").sum().sum()),
        "commits": sorted(set(results.telemetry["commit"].dropna().astype(str))),
        "command": f"python -m harness run {suite['path']}",
    }


def _rows(trials: pd.DataFrame, suite: Mapping[str, Any]) -> dict[str, Any]:
    """Trials as a table of texts, with a number beside each by which it sorts."""
    columns = ["key", *suite["axes"], *OUTCOMES]
    shown = trials[columns].head(MOST_ROWS)
    rows = [[(_cell(value), _sort_key(value)) for value in row] for row in shown.itertuples(index=False)]
    return {
        "columns": [column.replace("_", " ") for column in columns],
        "rows": rows,
        "left_out": len(trials) - len(shown),
    }


def _cell(value: Any) -> str:
    return "" if pd.isna(value) else words.value(value.item() if hasattr(value, "item") else value)


def _sort_key(value: Any) -> str:
    number = not pd.isna(value) and not isinstance(value, str)
    return repr(float(value)) if number else ""


def _failures(failed: pd.DataFrame, suite: Mapping[str, Any]) -> list[tuple[str, str, int, str]]:
    """Failures by arm and status: how many, and at which grid points."""
    over = grid.axes(suite)
    found = []
    for (arm, status), rows in failed.groupby([suite["compare"], "status"], sort=False):
        points = [f"{words.point(point) or 'everywhere'} ({len(some)})" for point, some in grid.by_point(rows, over)]
        found.append((words.value(arm), str(status), len(rows), "; ".join(points)))
    return found


def _environment() -> jinja2.Environment:
    def load(name: str) -> str:
        return (TEMPLATES / name).read_text("utf-8")

    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"words": words.value, "pipe": lambda text: str(text).replace("|", "\\|").replace("\n", " ")}
    return made


def _page(facts: Mapping[str, Any], images: Mapping[str, bytes], digest: str) -> str:
    style, script = ((TEMPLATES / name).read_text("utf-8") for name in ("page.css", "page.js"))
    shown = [_embedded(picture, images) for picture in facts["pictures"]]
    return (
        _environment()
        .get_template("page.html")
        .render(
            **{**facts, "pictures": shown}, style=style, script=script, digest=digest, policy=_policy(style, script)
        )
    )


def _embedded(picture: Picture, images: Mapping[str, bytes]) -> dict[str, str]:
    """A picture as the page has it: with its SVG inside."""
    data = base64.b64encode(images[f"{picture.name}.svg"]).decode()
    return {
        "name": picture.name,
        "title": picture.title,
        "caption": picture.caption,
        "alt": picture.alt,
        "source": f"data:image/svg+xml;base64,{data}",
    }


def _policy(style: str, script: str) -> str:
    """What the page may do: show its own pictures, run its own script, nothing else."""
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)
    )
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _markdown(facts: Mapping[str, Any]) -> str:
    return _environment().get_template("report.md").render(**facts)
