"""The report: verdicts, figures and tables on one page that needs no network, and the files beside it."""

import base64
import hashlib
import html
import re
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from harness.files import write_atomically
from harness.reporting import comparison, grid, words
from harness.reporting.claims import Verdict, verdicts
from harness.reporting.comparison import Comparison
from harness.reporting.current import FORMATS, digest_of, is_whole, page_of
from harness.reporting.figures import MOST_POINTS, Picture, pictures, points_left_out
from harness.reporting.figures.verdict import estimates
from harness.reporting.metrics import FAILED, FINISHED, METRICS
from harness.store import Results, csv_bytes

TEMPLATES = files("harness.reporting") / "templates"
MOST_ROWS = 2000  # of the table of trials on the page
OUTCOMES = ("status", "test_accuracy", "val_accuracy", "train_loss", "steps_to_target", "fail_step")
MARKUP = re.compile(r"[\\`*\[\]|$]")  # what Markdown or HTML in it would read as more than text


def write_report(results: Results) -> Path:
    """Write comparisons.csv, report.md, and report/ with its page and figures; the path of the page.

    The same results give the same bytes; where the page was made from the same results already, it is left alone.
    """
    page, digest = page_of(results.folder), digest_of(results.folder, results.suite)
    if is_whole(page, digest):
        return page
    figures = page.parent / "figures"
    rng = np.random.default_rng(0)  # signs of sign-flip tests above 20 seeds: the same report every time
    judged, drawn = verdicts(results, rng), pictures(results)
    found = [c for verdict in judged for c in verdict.comparisons]
    found += [c for picture in drawn for c in picture.comparisons]
    write_atomically(results.folder / "comparisons.csv", csv_bytes(comparison.table(found)))
    of_verdicts = list(estimates(judged))
    images = {name: data for picture in [*filter(None, of_verdicts), *drawn] for name, data in picture.files().items()}
    for name, data in images.items():
        write_atomically(figures / name, data)
    _remove_others(figures, set(images))
    facts = {**_facts(results, judged, drawn), "verdict_pictures": of_verdicts}
    write_atomically(results.folder / "report.md", _markdown(facts).encode("utf-8", "backslashreplace"))
    # The page comes last: with its digest it vouches for the others.
    write_atomically(page, _page(facts, images, digest).encode("utf-8", "backslashreplace"))
    return page


def _remove_others(figures: Path, names: set[str]) -> None:
    """Remove figures that an earlier report had and this one has not: the folder is to depend on the results alone."""
    for path in sorted(figures.glob("*")):
        if path.name not in names and path.suffix.removeprefix(".") in FORMATS:
            path.unlink()


def _facts(results: Results, judged: list[Verdict], drawn: list[Picture]) -> dict[str, Any]:
    """All that the templates say."""
    suite, trials = results.suite, results.trials
    failed, ended = trials["status"].isin(FAILED), trials["status"].isin(FINISHED)
    return {
        "suite": suite,
        "verdicts": judged,
        "pictures": drawn,
        "most_points": MOST_POINTS,
        "points_left_out": points_left_out(results),
        "ended": int(ended.sum()),
        "total": int(suite["trials"]),
        "failed": int(failed.sum()),
        "table": _rows(trials, suite),
        "failures": _failures(trials[failed], suite),
        "missing": _rows(trials[~ended & (trials["status"] != "interrupted")], suite),
        "most_rows": MOST_ROWS,
        "axes": {axis: [words.value(value) for value in values] for axis, values in suite["axes"].items()},
        "following": suite.get("following", {}),
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


def _numbers(comparisons: Iterable[Comparison]) -> list[tuple[str, ...]]:
    """Comparisons as rows of texts, in the columns of the page's tables of numbers."""
    return [
        (
            c.point or "all",
            f"{c.arm} against {c.than}",
            METRICS[c.metric].words,
            str(c.n),
            words.bare(c.arm_mean, METRICS[c.metric].unit),
            words.bare(c.than_mean, METRICS[c.metric].unit),
            words.amount(c.estimate, METRICS[c.metric].unit),
            "" if np.isnan(c.low) else words.span(c.low, c.high, METRICS[c.metric].unit),
            "" if np.isnan(c.p_adjusted) else words.p_value(c.p_adjusted),
            _rate(c.arm_failed, c.arm_finished, c.arm_failed_low, c.arm_failed_high),
            _rate(c.than_failed, c.than_finished, c.than_failed_low, c.than_failed_high),
            "" if np.isnan(c.failures_p_adjusted) else words.p_value(c.failures_p_adjusted),
        )
        for c in comparisons
    ]


def _rate(failed: int, of: int, low: float, high: float) -> str:
    interval = f" ({100 * low:.0f} to {100 * high:.0f} %)" if of else ""
    return f"{failed} of {of}{interval}"


def _environment(finalize: Callable[[Any], Any] | None = None) -> jinja2.Environment:
    """Where templates are filled in: values are escaped in HTML, and go through `finalize` in all."""

    def load(name: str) -> str:
        return (TEMPLATES / name).read_text("utf-8")

    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    made.filters |= {"words": words.value, "numbers": _numbers}
    return made


def _plain(text: Any) -> str:
    """A text that Markdown shows as it is, on one line."""
    return MARKUP.sub(r"\\\g<0>", html.escape(" ".join(str(text).split()), quote=False))


def _page(facts: Mapping[str, Any], images: Mapping[str, bytes], digest: str) -> str:
    style, script = ((TEMPLATES / name).read_text("utf-8") for name in ("page.css", "page.js"))
    shown = {
        kind: [picture and _embedded(picture, images) for picture in facts[kind]]
        for kind in ("verdict_pictures", "pictures")
    }
    return (
        _environment()
        .get_template("page.html")
        .render(**{**facts, **shown}, style=style, script=script, digest=digest, policy=_policy(style, script))
    )


def _embedded(picture: Picture, images: Mapping[str, bytes]) -> dict[str, Any]:
    """A picture as the page has it: with its SVG inside."""
    data = base64.b64encode(images[f"{picture.name}.svg"]).decode()
    return {
        "name": picture.name,
        "title": picture.title,
        "caption": picture.caption,
        "alt": picture.alt,
        "comparisons": picture.comparisons,
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
    return _environment(finalize=_plain).get_template("report.md").render(**facts)
