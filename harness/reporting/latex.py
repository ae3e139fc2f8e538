"""Comparisons as a LaTeX table for papers, in the style of the booktabs package."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from harness.reporting import words
from harness.reporting.comparison import Comparison
from harness.reporting.metrics import METRICS

COLUMNS = ("Where", "Arms", "$n$", "Difference", "95\\,\\% interval", "$p$ (Holm)", "Verdict")
SPECIAL = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": "$<$", ">": "$>$", "|": "$|$", '"': r"\textquotedbl{}", words.MINUS: "$-$"},
    **{"[": "{[}", "]": "{]}", "*": "{*}"},  # after a line's end they would be read as its options
    **{"-": "{-}", "`": "{`}", "'": "{'}", "?": "{?}", "!": "{!}"},  # no ligatures
}


def escaped(text: str) -> str:
    """The text as LaTeX shows it, on one line; what can't be seen is left out."""
    plain = "".join(letter for letter in re.sub(r"\s+", " ", text) if unicodedata.category(letter)[0] != "C")
    return "".join(SPECIAL.get(letter, letter) for letter in plain)


Group = tuple[str, Sequence[Comparison], bool]  # a title, what stands below it, whether its p are of equivalence


def table(groups: Iterable[Group]) -> str:
    """A tabular: for each group a line with its title, and a row for each of its comparisons."""
    title = rf"\multicolumn{{{len(COLUMNS)}}}{{@{{}}p{{\linewidth}}@{{}}}}"
    parts = [
        [rf"{title}{{{escaped(name)}}} \\", *(_row(c, equivalence=of_equivalence) for c in found)]
        for name, found, of_equivalence in groups
        if found
    ]
    lines = [line for part in parts for line in (r"\addlinespace", *part)][1:]
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs}. Positive differences are in favour of the arm named first; p are of two",
            r"% one-sided tests where equality is claimed, of sign-flip tests everywhere else.",
            r"\begin{tabular}{@{}llrrrrl@{}}",
            r"\toprule",
            rf"{' & '.join(COLUMNS)} \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _row(c: Comparison, *, equivalence: bool) -> str:
    unit, p = METRICS[c.metric].unit, c.equivalence_p_adjusted if equivalence else c.p_adjusted
    cells = (
        c.point or "all",
        f"{c.arm} against {c.than}",
        str(c.n),
        words.amount(c.estimate, unit),
        "" if np.isnan(c.low) else words.span(c.low, c.high, unit),
        "" if np.isnan(p) else words.p_value(p).removeprefix("p = ").removeprefix("p "),
        c.verdict,
    )
    return rf"{' & '.join(map(escaped, cells))} \\"
