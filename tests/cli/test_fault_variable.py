"""HARNESS_FAULT on a run as a user starts it: it strikes once, the run deals with it, and tables come out the same."""

import csv

import pytest

from harness.fault_injection import FILE_VARIABLE, VARIABLE
from tests.cli.conftest import TINY


@pytest.fixture
def run_with(harness, tmp_path, monkeypatch):
    """A run of the tiny suite with a fault."""
    harness.suite()
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "counts"))

    def run(fault):
        monkeypatch.setenv(VARIABLE, fault)
        ran = harness("run", "tiny", "--progress", "none", "--workers", "1")
        assert ran.err.count("harness: fault injected: ") == 1
        monkeypatch.delenv(VARIABLE)
        return ran

    return run


@pytest.mark.parametrize("fault", ["kill@step:3", "oom@step:3", "kill@message:4"])
def test_a_worker_that_is_struck_is_replaced_and_spared_from_then_on(finished, harness, run_with, fault):
    ran = run_with(fault)
    assert ran.code == 0, ran.err
    assert harness.tables() == finished.tables()


def test_a_run_is_terminated_by_what_its_worker_meets_and_goes_on(finished, harness, run_with):
    assert run_with("sigterm@step:2").code == 75
    assert harness("run", "tiny", "--progress", "none").code == 0
    assert harness.tables() == finished.tables()


def test_a_disk_that_is_full_ends_the_run_in_a_line_that_names_the_file(harness, run_with):
    ran = run_with("enospc@rename:3")
    assert ran.code == 4
    path = harness.results / "tiny" / "suite.json"
    assert ran.err.splitlines()[-1] == f"harness: can't write {path.relative_to(harness.folder)}: " + (
        "No space left on device (errno 28)"
    )


def test_weights_that_become_nan_are_a_result_of_that_trial_alone(harness, run_with):
    harness.suite(TINY.replace("0.03, 0.3, 1e30", "0.3"))
    assert run_with("nan@step:1").code == 0
    table = (harness.results / "tiny" / "trials.csv").read_text("utf-8")
    assert sorted(row["status"] == "nonfinite" for row in csv.DictReader(table.splitlines())) == [False] * 5 + [True]
