"""Figures as the page holds them: SVG in its own text, with a title on each mark that a pointer rests on.

A figure says what its marks are by the id of their group: `mark_titles` makes such an id, and `with_titles` turns it
into titles once the figure is written. Inside a page an SVG may have no style of its own, and its ids are to be unique.
"""

import base64
import html
import json
import re
from collections.abc import Iterable

from harness.text import printable

MARKS = "marks:"
GROUP = re.compile(r'<g id="marks:([^"]*)">')
NEXT_GROUP = re.compile(r'<g id="')
USE = re.compile(r"(<use\b[^>]*?)/>")
STYLE = re.compile(r' style="([^"]*)"')
DROPPED = re.compile(r"<!--.*?-->\n?|<metadata>.*?</metadata>\n?|<style\b.*?</style>\n?", re.DOTALL)
OPENING = re.compile(r"<svg\b([^>]*?)/?>")
VIEW_BOX = re.compile(r'viewBox="([-\d. ]+)"')
DECLARATION = re.compile(r"\s*([\w-]+):\s*(.+?)\s*")


def mark_titles(titles: Iterable[str]) -> str:
    """The id of a group of marks by which each, in its order, gets its title; one title is that of the whole group."""
    return MARKS + base64.urlsafe_b64encode(json.dumps(list(titles)).encode()).decode()


def with_titles(svg: str) -> str:
    """The SVG with the titles that the ids of its groups hold, in place of these ids."""
    parts, end = [], 0
    for match in GROUP.finditer(svg):
        titles = [html.escape(printable(title)) for title in json.loads(base64.urlsafe_b64decode(match[1]))]
        following = NEXT_GROUP.search(svg, match.end())
        stop = following.start() if following else len(svg)
        parts += [svg[end : match.start()], _titled(svg[match.end() : stop], titles)]
        end = stop
    return "".join([*parts, svg[end:]])


def _titled(group: str, titles: list[str]) -> str:
    if len(titles) == 1:
        return f"<g><title>{titles[0]}</title>{group}"
    uses = USE.findall(group)
    if len(uses) != len(titles):  # what lies outside of the canvas is not written
        return f"<g>{group}"
    remaining = iter(titles)
    return "<g>" + USE.sub(lambda use: f"{use[1]}><title>{next(remaining)}</title></use>", group)


def inlined(svg: bytes, name: str, alt: str) -> str:
    """The SVG for a page: no style, no comments, and all its ids begin with the name of the figure."""
    text = DROPPED.sub("", svg.decode())
    opening = OPENING.search(text)
    if opening is None:
        raise ValueError(f"figure {name} is no SVG")
    box = VIEW_BOX.search(opening[1])
    body = text[opening.end() :].rpartition("</svg>")[0]
    body = STYLE.sub(lambda style: _attributes(style[1]), body)
    body = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", body)
    view = f' viewBox="{box[1]}"' if box else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"{view} role="img" '
        f'aria-label="{html.escape(printable(alt))}" stroke-linejoin="round" stroke-linecap="butt">{body}</svg>'
    )


def _attributes(style: str) -> str:
    """A style as attributes, which a page may have that allows no style but its own."""
    declared = filter(None, map(DECLARATION.fullmatch, style.split(";")))
    return "".join(f' {match[1]}="{match[2]}"' for match in declared)
