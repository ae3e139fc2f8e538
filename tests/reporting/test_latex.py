"""The LaTeX table: what no text may break, checked by its structure."""

import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import log_grid
from harness.analysis.verdicts import verdicts
from harness.reporting.latex import HEADINGS, LAYOUT, escaped, latex_table
from harness.spec.claim import Claim
from tests.support.simulated import simulate

HOSTILE = [
    r"\input{/etc/passwd}",
    "50 % of $x_1^2$ & more # {a} ~",
    r"a \\ b",
    "[1ex] x",
    "* x",
    "a\nb\r\tc",
    "\u202eevil\u200b",
    "}}\\end{tabular}",
    "\N{MINUS SIGN}0.5 < 1 > 0 | \"q\" -- ``a''",
]
COMMANDS = {
    *(
        "textbackslash",
        "textasciitilde",
        "textasciicircum",
        "ttfamily",
        "char",
        "geq",
        "leq",
        "multicolumn",
        "linewidth",
    ),
    *("toprule", "midrule", "bottomrule", "addlinespace", "begin", "end", "begingroup", "endgroup"),
    *("footnotesize", "setlength", "tabcolsep", "raggedright", "arraybackslash"),
}


def tokens(text):
    """Escaped letters, commands and single letters, as TeX reads them."""
    return re.findall(r"\\[a-zA-Z]+|\\.|.", text, flags=re.DOTALL)


def check_balanced(text):
    depth = 0
    for token in tokens(text):
        depth += (token == "{") - (token == "}")
        assert depth >= 0
    assert depth == 0
    assert text.count("$") % 2 == text.count(r"\$") % 2


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_plain_text(text):
    check_text(escaped(text))


@given(st.text())
def test_any_text_is_plain_text(text):
    check_text(escaped(text))


def check_text(found):
    check_balanced(found)
    for token in tokens(found):
        assert token not in ("&", "%", "#", "_", "~", "^", "\\\\", "\n", "\r")
        if len(token) > 2:
            assert token.removeprefix("\\") in COMMANDS
    assert found[:1] not in ("[", "*")
    assert found.isprintable()


def test_plain_text_is_left_as_it_is():
    assert escaped("batch norm at lr 0.1") == "batch norm at lr 0.1"
    assert escaped("50 %") == r"50 \%"
    assert escaped("sync_batch") == r"sync\_batch"


@pytest.mark.parametrize("arm", ["batch", "a & b_c % \\\\ {"])
def test_every_row_of_the_table_has_all_columns_and_rules_stand_in_place(tmp_path, arm):
    axes = {"norm": [arm, "none"], "lr": [0.1, 0.3], "seed": range(7)}
    claims = [Claim.better(arm, than="none"), Claim.equivalent(arm, to="none", within=0.02, lr=0.1)]
    judged = verdicts(simulate(tmp_path, axes, claims=claims), np.random.default_rng(0))
    text = latex_table((v.statement, v.comparisons) for v in judged)
    check_balanced(text)
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    assert lines[1] == rf"\begin{{tabular}}{{{LAYOUT}}}"
    assert lines[-2:] == [r"\end{tabular}%", r"\endgroup"]
    assert [line for line in lines if "rule" in line] == [r"\toprule", r"\midrule", r"\bottomrule"]
    rows = [line for line in lines if line.endswith(r" \\")]
    assert len(rows) == 1 + 2 + 3  # the head, a title for each claim, a row for each comparison
    for row in rows:
        cells = tokens(row.removesuffix(r" \\")).count("&")
        assert cells == (0 if row.startswith(r"\multicolumn") else len(HEADINGS) - 1)
        assert "\\\\" not in tokens(row.removesuffix(r"\\"))
    assert {
        token.removeprefix("\\") for token in tokens(text) if re.fullmatch(r"\\[a-zA-Z]{2,}", token)
    } <= COMMANDS | {"usepackage"}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex (Debian: texlive-latex-recommended)")
def test_latex_sets_it_in_a_column_of_text_whatever_the_names(tmp_path):
    axes = {"norm": [*HOSTILE, "none"], "lr": log_grid(1e-3, 10, per_decade=2), "seed": range(7)}
    claims = [Claim.better(arm, than="none") for arm in HOSTILE] + [Claim.wider_lr_range(HOSTILE[0], than="none")]
    judged = verdicts(simulate(tmp_path / "results", axes, claims=claims), np.random.default_rng(0))
    body = latex_table((v.statement, v.comparisons) for v in judged)
    needed = re.findall(r"\\usepackage{.*?}", body)
    lines = [r"\documentclass{article}", *needed, r"\begin{document}", r"\noindent", body, r"\end{document}"]
    (tmp_path / "paper.tex").write_text("\n".join(lines), "utf-8")
    ran = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "paper"], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout
    assert "Output written on paper.pdf" in ran.stdout
    assert r"Overfull \hbox" not in ran.stdout


@pytest.mark.parametrize(
    ("bound", "shown"), [("at least", r"$\geq$ 1.14"), ("at most", r"$\leq$ 1.14"), ("exact", "1.14")]
)
def test_a_bound_is_shown_as_one(tmp_path, bound, shown):
    axes = {"norm": ["batch", "none"], "lr": log_grid(0.1, 1.0, per_decade=2), "seed": range(7)}
    results = simulate(tmp_path, axes, claims=[Claim.wider_lr_range("batch", than="none")])
    comparison = verdicts(results, np.random.default_rng(0))[0].comparisons[0]
    made_up = replace(comparison, estimate=1.14, bound=bound)
    assert f" & {shown} decades & " in latex_table([("wider", [made_up])])


def test_the_p_of_a_claim_is_that_after_holm_over_all_claims(tmp_path):
    claims = [Claim.equivalent("batch", to="none", within=0.02)]
    results = simulate(tmp_path, {"norm": ["batch", "none"], "seed": range(7)}, claims=claims)
    (verdict,) = verdicts(results, np.random.default_rng(0))
    made_up = [replace(verdict.comparisons[0], p=0.0123, p_adjusted=0.0321)]
    assert " & 0.032 & " in latex_table([("same", made_up)])


def test_without_comparisons_it_is_empty_and_whole():
    assert r"\midrule" + "\n" + r"\bottomrule" in latex_table([("nothing", [])])
