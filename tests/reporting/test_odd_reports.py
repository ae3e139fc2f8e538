"""Reports of next to nothing, of nothing good, and of very much: each is right and says what it is."""

import re
from dataclasses import replace

import pandas as pd
import pytest

from harness.analysis.diff import diff
from harness.reporting.report import write_report
from harness.reporting.tables import MAX_TABLE_ROWS
from harness.spec.claim import Claim
from tests.reporting.test_report import on_disk
from tests.support.simulated import simulate

AXES = {"norm": ["batch", "none"], "lr": [0.01, 0.03, 0.1, 0.3, 1.0], "seed": list(range(7))}
CLAIMS = [
    Claim.better("batch", than="none", lr=1.0),
    Claim.wider_lr_range("batch", than="none"),
    Claim.best_tuned("batch", than="none"),
    Claim.sooner("batch", than="none", lr=0.1),
]


pytestmark = pytest.mark.usefixtures("unwritten_figures")


def report(folder, axes=AXES, claims=CLAIMS, **options):
    """The text of the page, that of report.md, and the table of comparisons."""
    results = on_disk(simulate(folder / "s", axes, claims=claims, **options))
    text = write_report(results).read_text("utf-8")
    return text, (folder / "s" / "report.md").read_text("utf-8"), pd.read_csv(folder / "s" / "comparisons.csv")


def words_of(page):
    return re.findall(r'class="badge">(\w+)<', page)


def test_a_report_of_nothing_says_so_and_claims_nothing(tmp_path):
    page, text, comparisons = report(tmp_path, keep=0.0)
    assert "Unfinished: 0 of 70 trials have a result." in page
    assert "Nothing has been trained yet." in page
    assert "Nothing has been trained yet." in text
    assert "There is nothing to draw yet." in page
    assert set(words_of(page)) <= {"descriptive", "undecided"}
    assert (comparisons["n"] == 0).all()
    assert comparisons[["p", "p_adjusted", "low", "high"]].isna().all(axis=None)


def test_a_report_of_one_trial_compares_nothing(tmp_path):
    axes = {"norm": ["batch"], "seed": [0]}
    page, _, comparisons = report(tmp_path, axes, [])
    assert "All 1 trials have a result." not in page
    assert "The only trial has a result." in page
    assert "One arm alone has results: nothing can be compared." in page
    assert "one seed" in page
    assert comparisons.empty
    assert page.count("<tr>") >= 2


def test_a_report_of_one_seed_is_descriptive_throughout(tmp_path):
    page, _, comparisons = report(tmp_path, {**AXES, "seed": [3]})
    assert "All results are of one seed" in page
    assert set(words_of(page)) == {"descriptive"}
    assert comparisons[["p", "p_adjusted", "low", "high"]].isna().all(axis=None)
    assert not re.search(r"p (=|&lt;) 0", page)


@pytest.mark.parametrize("status", ["nonfinite", "no_better_than_init"])
def test_a_report_of_failures_only_says_so_and_finds_no_arm_better(tmp_path, status):
    page, text, comparisons = report(tmp_path, status=status)
    assert "Every trial that ended has failed to train." in page
    assert "Every trial that ended has failed to train." in text
    assert "70 of these failed to train" in page
    assert "supported" not in words_of(page)
    assert (comparisons["arm_failed"] == comparisons["arm_finished"]).all()


def test_a_report_of_half_a_grid_says_how_much_and_counts_what_it_has(tmp_path):
    page, text, comparisons = report(tmp_path, keep=0.5)
    assert "Unfinished: 35 of 70 trials have a result." in page
    assert "35 of 70 trials have a result" in text
    assert "So far" in page
    assert (comparisons["n"] <= 4).all()
    assert set(words_of(page)) == {"descriptive"}


@pytest.mark.slow
def test_a_report_of_ten_thousand_trials_is_whole_and_of_a_size_to_open(tmp_path):
    axes = {
        "norm": ["batch", "none"],
        "model": [f"mlp-{width}" for width in (8, 16, 32, 64)],
        "lr": [round(0.001 * 1.7**i, 5) for i in range(25)],
        "seed": range(50),
    }
    results = on_disk(simulate(tmp_path / "s", axes, claims=CLAIMS[1:3], evaluations=3))
    assert len(results.trials) == 10_000
    page = write_report(results)
    text = page.read_text("utf-8")
    assert "All 10 000 trials have a result." in text
    assert f"These are the first {MAX_TABLE_ROWS}; {10_000 - MAX_TABLE_ROWS} more" in text
    assert text.count("<article") == 2
    assert page.stat().st_size < 4 * 2**20


def test_a_report_of_trials_that_crashed_lists_them(tmp_path):
    results = on_disk(simulate(tmp_path / "s", AXES, claims=CLAIMS))
    crashed = results.trials["seed"] == 6
    trials = results.trials.assign(status=results.trials["status"].mask(crashed, "crashed"))
    page = write_report(on_disk(replace(results, trials=trials))).read_text("utf-8")
    assert "Unfinished: 60 of 70 trials have a result." in page
    assert "These ended without a result, and are in no figure:" in page
    assert page.partition('id="table-missing"')[2].partition("</table>")[0].count(">crashed<") == 10


def test_an_arm_at_which_the_axis_is_not_set_is_compared_like_any_other(tmp_path):
    claims = [Claim.better(1.0, than=None), Claim.wider_lr_range(None, than=1.0)]
    axes = {"max_grad_norm": [None, 1.0], "lr": [0.03, 0.1, 0.3], "seed": range(7)}
    results = simulate(tmp_path / "clip", axes, claims=claims)
    points = {axis: [None if pd.isna(value) else value for value in results.trials[axis].tolist()] for axis in axes}
    results = replace(results, manifest=replace(results.manifest, compare="max_grad_norm", points=points))
    page = write_report(on_disk(results))
    table = pd.read_csv(page.parents[1] / "comparisons.csv")
    assert set(table["n"]) == {7}
    assert {*table["arm"], *table["than"]} == {"1", "not set"}
    assert "1 has a higher test accuracy than not set" in page.read_text("utf-8")
    assert page.read_text("utf-8").count("0 of 21 with max grad norm not set") > 1
    found = diff(results, results)
    assert found.same_bits == {"not set": (21, 21), "1": (21, 21)}
    assert [c.n for c in found.comparisons] == [7, 7]
