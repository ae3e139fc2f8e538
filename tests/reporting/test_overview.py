"""Several suites on one page."""

import re
from dataclasses import replace

import pytest

from harness.reporting.overview import write_overview
from harness.spec.claim import Claim
from tests.support.simulated import simulate

AXES = {"norm": ["batch", "none"], "lr": [0.1, 1.0], "seed": range(7)}
WIDER = [Claim.better("batch", than="none", lr=1.0), Claim.equivalent("batch", to="none", within=0.05, tau=0.6, lr=0.1)]


def suites(folder):
    """One with two claims, one half done without any, one with a hostile name."""
    first = simulate(folder / "first", AXES, claims=WIDER, name="first", question="Does it help?")
    second = simulate(folder / "second", AXES, name="second", question="Is it sooner?", keep=0.5)
    third = simulate(folder / "a b", AXES, claims=WIDER[:1], name="a b", question="<script>alert(1)</script> | *x*")
    return [first, second, third]


@pytest.fixture
def written(tmp_path):
    return write_overview(tmp_path, suites(tmp_path))


def test_there_is_a_line_for_each_claim_with_its_verdict_and_a_link_to_its_report(written):
    page = written.read_text("utf-8")
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", body)
    assert len(rows) == 2 + 1 + 1
    assert [re.search(r'href="(.*?)"', row)[1] for row in rows] == [
        *["first/report/index.html"] * 2,
        "second/report/index.html",
        "a%20b/report/index.html",
    ]
    assert ["supported" in row for row in rows] == [True, True, False, True]
    assert "no claim" in rows[2]
    assert "Claims: 3 supported. 3 verdicts, 3 of them supported or refuted." in page
    assert "over 2 suites up to 0.1 suites with a wrong one are to be expected" in page


def test_what_is_unfinished_says_k_of_n(written):
    assert "Unfinished: 14 of 28 trials have a result." in written.read_text("utf-8")
    assert "second: 14 of 28 trials have a result" in (written.parent / "overview.md").read_text("utf-8")


def test_hostile_text_is_shown_and_does_nothing(written):
    assert written.read_text("utf-8").count("<script>") == 1
    text = (written.parent / "overview.md").read_text("utf-8")
    assert "<script>" not in text


def test_the_same_results_give_the_same_bytes(written, tmp_path):
    (tmp_path / "again").mkdir()
    again = write_overview(tmp_path / "again", suites(tmp_path))
    for name in ("index.html", "overview.md"):
        assert (again.parent / name).read_bytes() == (written.parent / name).read_bytes()


def test_suites_without_a_claim_have_an_overview_too(tmp_path):
    (lone,) = suites(tmp_path)[1:2]
    assert "No suite makes a claim." in write_overview(tmp_path, [lone, replace(lone)]).read_text("utf-8")
