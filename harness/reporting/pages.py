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

TEMPLATES = files("harness.reporting") / "templates"
MARKUP = re.compile(r"[\\`*\[\]|$]")  # what Markdown or HTML in it would read as more than text


class Verbatim(str):
    """A text for a block of code, in which Markdown reads no markup."""

    __slots__ = ()


def page(name: str, facts: Mapping[str, Any]) -> bytes:
    """A page made of a template, its style and its script; all that is not of the template is escaped."""
    style, script = ((TEMPLATES / file).read_text("utf-8") for file in ("page.css", "page.js"))
    template = _environment().get_template(name)
    return _encoded(template.render(**facts, style=style, script=script, policy=_policy(style, script)))


def markdown(name: str, facts: Mapping[str, Any]) -> bytes:
    """A Markdown text made of a template; values are shown as they are, each on one line."""
    return _encoded(_environment(finalize=_escape_markdown).get_template(name).render(**facts))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")  # a lone surrogate is no text in UTF-8


def _environment(finalize: Callable[[Any], Any] | None = None) -> jinja2.Environment:
    """Where templates are filled in: values are escaped in HTML, and go through `finalize` in all."""

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
    environment.filters |= {"words": formatting.value, "counted": formatting.count, "verbatim": Verbatim}
    return environment


def _escape_markdown(text: Any) -> str:
    """A text that Markdown shows as it is, on one line."""
    line = " ".join(str(text).split())
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
