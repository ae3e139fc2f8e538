"""Figures inside a page: titles on marks, no style, ids of their own."""

import re

from matplotlib.figure import Figure

from harness.reporting.figures.frame import _image_bytes
from harness.reporting.svg import inlined, mark_titles, with_titles

HOSTILE = "</title><script>\"'&"


def drawn(titles, x=(1, 2, 3)):
    figure = Figure()
    axes = figure.subplots()
    axes.plot(x, x, "o", gid=mark_titles(titles))
    axes.plot([1, 2], [3, 1], "s")
    return _image_bytes(figure, "svg", {"Date": None}).decode()


def test_each_mark_has_its_title_in_the_order_in_which_it_was_drawn():
    titles = ["seed 0", "seed 1", HOSTILE]
    svg = drawn(titles)
    told = re.findall(r"<use[^>]*><title>(.*?)</title></use>", svg)
    assert told == ["seed 0", "seed 1", "&lt;/title&gt;&lt;script&gt;&quot;&#x27;&amp;"]
    assert "marks:" not in svg


def test_a_title_has_no_letters_that_nobody_sees():
    assert "<title>a\\x1b\\u202eb</title>" in drawn(["a\x1b\u202eb", "b", "c"])


def test_one_title_is_that_of_the_whole_group_and_a_wrong_number_gives_none():
    assert drawn(["all of them"]).count("<title>all of them</title>") == 1
    assert "<title>seed" not in drawn(["seed 0", "seed 1"])


def test_an_inlined_figure_has_no_style_and_ids_of_its_own():
    svg = inlined(drawn(["a", "b", "c"]).encode(), "effect", 'Dots "by" arm.')
    assert "style" not in svg
    assert "<!--" not in svg
    ids = re.findall(r' id="([^"]*)"', svg)
    assert ids
    assert all(name.startswith("effect-") for name in ids)
    used = {*re.findall(r'href="#([^"]*)"', svg), *re.findall(r"url\(#([^)]*)\)", svg)}
    assert used <= set(ids)
    assert 'aria-label="Dots &quot;by&quot; arm."' in svg


def test_a_text_without_marks_is_left_as_it_is():
    assert with_titles("<svg><g id='x'/></svg>") == "<svg><g id='x'/></svg>"
