"""The report: verdicts, figures and tables on one page that needs no network, and the files beside it."""

import base64
import hashlib
import html
import re
import shlex
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from harness.files import write_atomically
from harness.reporting import comparison, words
from harness.reporting.claims import Verdict, verdicts
from harness.reporting.current import FORMATS, digest_of, is_whole, page_of
from harness.reporting.figures import MOST_POINTS, Picture, pictures, points_left_out
from harness.reporting.figures.verdict import estimates
from harness.reporting.metrics import FAILED, FINISHED
from harness.reporting.tables import Table, comparisons_table, failures_table, trials_table
from harness.store import Results, csv_bytes

TEMPLATES = files("harness.reporting") / "templates"
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
    facts = _facts(results, judged, drawn)
    facts |= {"verdicts": list(zip(judged, of_verdicts, strict=True)), "pictures": drawn}
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
    suite, trials, telemetry = results.suite, results.trials, results.telemetry
    failed, ended = trials["status"].isin(FAILED), trials["status"].isin(FINISHED)
    without = trials[~ended & (trials["status"] != "interrupted")]
    found = [c for verdict in judged for c in verdict.comparisons] + [c for of in drawn for c in of.comparisons]
    return {
        "suite": suite,
        "most_points": MOST_POINTS,
        "points_left_out": points_left_out(results),
        "ended": int(ended.sum()),
        "total": int(suite["trials"]),
        "failed": int(failed.sum()),
        "trials": trials_table("trials", "Trials", trials, suite),
        "comparisons": comparisons_table("comparisons", "All comparisons", found),
        "failures": failures_table(trials[failed], suite),
        "missing": trials_table("missing", "Trials without a result", without, suite),
        "axes": {axis: [words.value(value) for value in values] for axis, values in suite["axes"].items()},
        "following": suite.get("following", {}),
        "settings": {name: words.value(value) for name, value in suite["settings"].items() if value not in (None, "")},
        "machine": {**suite.get("machine", {}), **suite.get("fingerprint", {})},
        "seconds": float(telemetry[["seconds_train", "seconds_eval"]].astype("float64").sum().sum()),
        "commits": sorted(set(telemetry["commit"].dropna().astype(str))),
        "commands": _commands(suite, telemetry),
    }


def _commands(suite: Mapping[str, Any], telemetry: pd.DataFrame) -> list[str]:
    """What to type in a checkout to get these results; with the commit, where one commit made all of them."""
    commits = set(telemetry["commit"].dropna().astype(str))
    changed = telemetry["dirty"].fillna(False).astype(str).str.lower().eq("true").any()
    checkout = [f"git checkout {commits.pop()}"] if len(commits) == 1 and not changed else []
    return [*checkout, f"python -m harness run {shlex.quote(suite['path'])}"]


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
    made.filters |= {"words": words.value}
    return made


def _plain(text: Any) -> str:
    """A text that Markdown shows as it is, on one line."""
    return MARKUP.sub(r"\\\g<0>", html.escape(" ".join(str(text).split()), quote=False))


def _page(facts: Mapping[str, Any], images: Mapping[str, bytes], digest: str) -> str:
    verdicts = [
        (verdict, picture and _embedded(picture, images), _numbers(f"claim-{i}", verdict.statement, verdict))
        for i, (verdict, picture) in enumerate(facts["verdicts"], start=1)
    ]
    shown = [(_embedded(of, images), _numbers(of.name, of.title, of)) for of in facts["pictures"]]
    return render("page.html", {**facts, "verdicts": verdicts, "pictures": shown, "digest": digest})


def _numbers(name: str, title: str, of: Verdict | Picture) -> Table:
    return comparisons_table(f"numbers-{name}", f"Numbers: {title}", of.comparisons)


def render(name: str, facts: Mapping[str, Any]) -> str:
    """A page made of a template, its style and its script, that may do nothing else."""
    style, script = ((TEMPLATES / file).read_text("utf-8") for file in ("page.css", "page.js"))
    template = _environment().get_template(name)
    return template.render(**facts, style=style, script=script, policy=_policy(style, script))


def _embedded(picture: Picture, images: Mapping[str, bytes]) -> dict[str, Any]:
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
    return _environment(finalize=_plain).get_template("report.md").render(**facts)
