"""Comparisons as a LaTeX latex_table for papers, in the style of the booktabs package."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from harness.analysis import formatting
from harness.analysis.comparison import Comparison

HEADINGS = ("Where", "$n$", "Difference", "95\\,\\% interval", "$p$ (Holm)", "Verdict")
LAYOUT = r"@{}>{\raggedright\arraybackslash}p{0.27\linewidth}rrrrl@{}"
SPECIAL = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": "$<$", ">": "$>$", "|": "$|$", '"': r"{\ttfamily\char34}", formatting.MINUS: "$-$"},
    **{"\N{GREATER-THAN OR EQUAL TO}": r"$\geq$", "\N{LESS-THAN OR EQUAL TO}": r"$\leq$"},
    **{"[": "{[}", "]": "{]}", "*": "{*}"},  # after a line's end they would be read as its options
    **{"-": "{-}", "`": "{`}", "'": "{'}", "?": "{?}", "!": "{!}"},  # no ligatures
}


def escaped(text: str) -> str:
    """The text as LaTeX shows it, on one line; what can't be seen is left out."""
    plain = "".join(letter for letter in re.sub(r"\s+", " ", text) if unicodedata.category(letter)[0] != "C")
    return "".join(SPECIAL.get(letter, letter) for letter in plain)


Group = tuple[str, Sequence[Comparison]]  # a title, its comparisons


def latex_table(groups: Iterable[Group]) -> str:
    """A tabular: for each group and pair of arms a line that names them, and a row for each of its comparisons."""
    lines = [
        line
        for title, comparisons in groups
        for arms, of_arms in _by_arms(comparisons).items()
        for line in (r"\addlinespace", _title(f"{title} ({arms})"), *_rows(of_arms))
    ]
    return "\n".join(
        [
            r"% Needs \usepackage{array,booktabs}; letters beyond Latin need LuaLaTeX or XeLaTeX and a font for them.",
            r"% A difference is positive where the arm named first does better, or has more of what is neither good",
            r"% nor bad; a ratio, in times, is that of the first to the other. Differences are means with 95 %",
            r"% intervals, on which no word rests; p are of exact sign tests, of a claim over all its points.",
            r"\begingroup\footnotesize\setlength{\tabcolsep}{3pt}%",
            rf"\begin{{tabular}}{{{LAYOUT}}}",
            r"\toprule",
            rf"{' & '.join(HEADINGS)} \\",
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}%",
            r"\endgroup",
            "",
        ]
    )


def _by_arms(comparisons: Sequence[Comparison]) -> dict[str, list[Comparison]]:
    """The comparisons of each pair of arms, in their order."""
    pairs: dict[str, list[Comparison]] = {}
    for c in comparisons:
        pairs.setdefault(f"{c.arm} against {c.than}", []).append(c)
    return pairs


def _title(text: str) -> str:
    return rf"\multicolumn{{{len(HEADINGS)}}}{{@{{}}p{{\linewidth}}@{{}}}}{{{escaped(text)}}} \\"


def _rows(comparisons: Sequence[Comparison]) -> Iterator[str]:
    metric = comparisons[0].metric
    for c in comparisons:
        unit, p = c.unit, c.p_adjusted
        cells = (
            (c.point or "all") + ("" if c.metric == metric else f": {c.definition.words}"),
            str(c.n),
            formatting.format_bound(c.estimate, unit, c.bound),
            "" if np.isnan(c.low) else formatting.span(c.low, c.high, unit),
            "" if np.isnan(p) else formatting.p_value(p).removeprefix("p = ").removeprefix("p "),
            c.verdict,
        )
        yield rf"{' & '.join(map(escaped, cells))} \\"
