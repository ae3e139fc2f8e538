"""Templates filled in: pages that need no network and may do nothing but what they show, and Markdown."""

import base64
import hashlib
import html
import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

import jinja2

from harness.analysis import formatting
from harness.reporting.glossary import Explainer, glossary_entries
from harness.text import LINES, printable

TEMPLATES = files("harness.reporting") / "templates"
MARKUP = re.compile(r"[\\`*\[\]|$]")  # what Markdown or HTML in it would read as more than text


class Verbatim(str):
    """A text for a block of code, in which Markdown reads no markup."""

    __slots__ = ()


def page(name: str, facts: Mapping[str, Any]) -> bytes:
    """A page made of a template, its style and its script; all that is not of the template is escaped."""
    style, script = ((TEMPLATES / file).read_text("utf-8") for file in ("page.css", "page.js"))
    template = _environment(_printable_value).get_template(name)
    return template.render(**facts, style=style, script=script, policy=_policy(style, script)).encode()


def markdown(name: str, facts: Mapping[str, Any]) -> bytes:
    """A Markdown text made of a template; values are shown as they are, each on one line."""
    return _environment(_escape_markdown).get_template(name).render(**facts).encode()


def _environment(finalize: Callable[[Any], Any]) -> jinja2.Environment:
    """Where templates are filled in: every value goes through `finalize`, and in HTML it is escaped then."""

    def load(name: str) -> str:
        return (TEMPLATES / name).read_text("utf-8")

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    environment.filters |= {
        "words": formatting.value,
        "counted": formatting.count,
        "verbatim": Verbatim,
        "explained": Explainer(),
    }
    environment.globals |= {"glossary": glossary_entries()}
    return environment


def _printable_value(value: Any) -> Any:
    """A text as it can be seen; what is markup already is of the template."""
    return value if hasattr(value, "__html__") else printable(str(value), keep=LINES)


def _escape_markdown(text: Any) -> str:
    """A text that Markdown shows as it is, on one line."""
    line = printable(" ".join(str(text).split()))
    return line if isinstance(text, Verbatim) else MARKUP.sub(r"\\\g<0>", html.escape(line, quote=False))


def _policy(style: str, script: str) -> str:
    """What the page may do: show its own images, run its own script, nothing else."""
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)
    )
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
        "base-uri 'none'; form-action 'none'"
    )
