"""compare and --fail-if: what a gate lets through, and how it says what it does not."""

import json
import re
import shutil

import pandas as pd
import pytest


@pytest.fixture
def other(finished, tmp_path):
    """A copy of the finished results."""
    shutil.copytree(finished.results, tmp_path / "other")
    return tmp_path / "other"


def altered(folder):
    """Change the bits of one trial."""
    path = folder / "tiny" / "trials.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[0, "test_accuracy"] = "0.123"
    path.write_text(table.to_csv(index=False, lineterminator="\n"), "utf-8")


def test_equal_results_have_not_changed(finished, other):
    ran = finished("compare", "results/tiny", str(other / "tiny"), "--fail-if", "changed,bits", "--fail-if", "verdicts")
    assert (ran.code, ran.err) == (0, "")
    first, *others = ran.out.splitlines()
    assert first.startswith("tiny: 18 trials in both, 18 of 18 the same to the bit (batch 9 of 9")
    assert others == ["  nothing changed"]


def test_folders_with_several_suites_are_compared_suite_by_suite(finished, other):
    altered(other)
    ran = finished("compare", "results", str(other), "--json")
    assert (ran.code, ran.err) == (0, "")
    (found,) = json.loads(ran.out)
    assert (found["name"], found["matched"], found["changed"]) == ("tiny", 18, "")
    assert found["same_bits"] == {"batch": [8, 9], "none": [9, 9]}


def test_a_gate_on_bits_closes_with_5_and_one_line(finished, other):
    altered(other)
    ran = finished("compare", "results/tiny", str(other / "tiny"), "--fail-if", "bits")
    assert (ran.code, ran.err) == (5, "harness: --fail-if: bits (1 trial of 18)\n")
    assert "untested: 2 differences of fewer than the 7 seeds" in ran.out
    ran = finished("compare", "results/tiny", str(other / "tiny"), "--fail-if", "changed,verdicts")
    assert ran.code == 5
    assert ran.err.startswith("harness: --fail-if: changed can't be judged (2 differences of fewer than")
    assert finished("compare", "results/tiny", str(other / "tiny"), "--fail-if", "untested").code == 5


def test_a_gate_on_a_report_closes_after_the_report_is_written(finished):
    ran = finished("report", "tiny", "--fail-if", "descriptive,refuted")
    assert ran.code == 5
    assert ran.err.startswith("harness: --fail-if: descriptive (tiny, claim 1: batch has a higher test accuracy")
    assert ran.err.count("\n") == 1
    assert "the report is" in ran.out
    ran = finished("report", "tiny", "--fail-if", "failed")
    assert ran.code == 5
    assert re.fullmatch(r"harness: --fail-if: failed \(tiny: \d trials\)\n", ran.err)


def test_a_gate_of_which_no_condition_is_met_lets_a_report_through(finished):
    ran = finished("report", "tiny", "--fail-if", "unfinished")
    assert (ran.code, ran.err) == (0, "")


def test_a_gate_on_what_too_few_seeds_can_not_tell_stays_closed(finished):
    ran = finished("report", "tiny", "--fail-if", "refuted")
    assert ran.code == 5
    assert ran.err.startswith("harness: --fail-if: refuted can't be judged (tiny, claim 1: batch has")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("report", "tiny", "--fail-if", "refutd"), "did you mean 'refuted'?"),
        (("compare", "results/tiny", "results/tiny", "--fail-if", "failed"), "unknown condition 'failed'"),
        (("compare", "results/tiny", "nowhere"), "no folder nowhere"),
        (("compare", "results", "."), "no results of the same suite"),
    ],
)
def test_a_gate_or_a_folder_that_is_not_there_is_refused_in_one_line(finished, words, said):
    ran = finished(*words)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert said in ran.err
