"""Several suites in one command: `run a b`, `run suites/all`."""

import pandas as pd

from tests.cli.conftest import TINY

QUICK = TINY.replace("range(3)", "range(2)")
NO_DEVICE = QUICK.replace('model="mlp-16"', 'model="mlp-16", device="cuda:7"')


def test_all_stands_for_every_suite_of_a_folder_and_each_has_its_own_results(harness):
    (harness.folder / "of").mkdir()
    harness.suite(QUICK, "of/b")
    harness.suite(QUICK.replace("mlp-16", "mlp-8"), "of/a")
    ran = harness("run", "of/all", "--progress", "none")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.index("a: Is a tiny suite") < ran.out.index("b: Is a tiny suite")
    assert "the overview is results/index.html" in ran.out
    overview = (harness.results / "overview.md").read_text("utf-8")
    assert all(f"({name}/report.md)" in overview for name in "ab")
    alone = harness("run", "of/b", "--results", "alone", "--progress", "none")
    assert alone.code == 0
    assert harness.tables("b") == harness.tables("b", results="alone")
    assert harness.tables("a") != harness.tables("b")
    told = harness("report", "of/all").out
    assert told.count("12 of 12 trials have ended") == 2
    assert "the overview is" in told
    assert 'href="b/report/index.html"' in (harness.results / "index.html").read_text("utf-8")


def test_what_one_suite_needs_and_this_machine_lacks_leaves_the_others_alone(harness):
    harness.suite(NO_DEVICE, "other")
    harness.suite(QUICK)
    ran = harness("run", "other", "tiny", "--progress", "none")
    assert ran.code == 4
    assert ran.err.startswith("other: device 'cuda:7' is not on this machine")
    assert "tiny/report/index.html" in ran.out


def test_a_selection_need_not_match_in_every_suite(harness):
    harness.suite(QUICK)
    harness.suite(QUICK.replace("lr=[0.03, 0.3, 1e30]", "lr=0.3"), "other")
    ran = harness("run", "tiny", "other", "--only", "lr=0.03", "--progress", "none")
    assert ran.code == 0
    assert ran.err.startswith("other: no trial matches --only lr=0.03")


def test_a_value_that_only_one_of_the_suites_has_is_selected_there_and_one_that_none_has_is_refused(harness):
    harness.suite(QUICK)
    harness.suite(QUICK.replace("lr=[0.03, 0.3, 1e30]", "lr=[0.1, 0.3]"), "other")
    ran = harness("run", "tiny", "other", "--only", "lr=0.03,0.1", "--only", "norm=none", "--progress", "none")
    assert ran.code == 0
    for name, lr in (("tiny", 0.03), ("other", 0.1)):
        trials = pd.read_csv(harness.results / name / "trials.csv")
        assert set(trials["lr"][trials["status"] != "interrupted"]) == {lr}
    ran = harness("run", "tiny", "other", "--only", "lr=0.03,0.5")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(
        "harness: --only lr=0.5: no trial has it; did you mean 0.3? they have 0.03, 0.3, 1e+30, 0.1"
    )


def test_a_wrong_suite_among_several_is_refused_before_any_is_trained(harness):
    harness.suite(QUICK)
    harness.suite(QUICK.replace("steps=12", "stepz=12"), "wrong")
    ran = harness("run", "tiny", "wrong", "--progress", "none")
    assert ran.code == 2
    assert "stepz" in ran.err
    harness.suite(QUICK.replace("steps=12", "steps=0"), "wrong")
    ran = harness("run", "tiny", "wrong", "--progress", "none")
    assert (ran.code, ran.err) == (2, "harness: wrong.py: steps must be at least 1, and less than 2**31, got 0\n")
    assert not harness.results.exists()


def test_two_suites_of_one_name_are_refused(harness):
    (harness.folder / "of").mkdir()
    harness.suite(QUICK)
    harness.suite(QUICK, "of/tiny")
    ran = harness("run", "tiny", "of/tiny")
    assert ran.code == 2
    assert "share the name 'tiny'" in ran.err


def test_all_of_a_folder_without_suites_is_refused_in_one_line(harness):
    ran = harness("run", "nowhere/all")
    assert ran.code == 2
    assert ran.err == "harness: no suite in nowhere/; nowhere/all stands for all suites in that folder\n"


def test_the_time_budget_is_that_of_all_suites_together(harness):
    harness.suite(TINY.replace("steps=12", "steps=2_000_000"), "long")
    harness.suite(QUICK)
    ran = harness("run", "long", "tiny", "--time-budget", "6s", "--progress", "none")
    assert ran.code == 75
    assert not (harness.results / "tiny").exists()
