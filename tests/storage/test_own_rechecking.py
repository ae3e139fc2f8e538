"""Own training done twice: what is equal, what differs, and what is kept of that for the report."""

import pytest

from harness.errors import DamageError
from harness.reporting.report import replication
from harness.spec.loader import load_suite
from harness.spec.manifest import describe
from harness.storage.rechecking import FINDINGS, Rechecked, compare_again, read_findings, write_findings
from harness.storage.records import ResultsDir
from tests.support.own_training import WALK, request_for, run


@pytest.fixture
def twice(tmp_path):
    """The same trial, trained in two folders."""
    requests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        requests.append(request_for(tmp_path / name, WALK))
        run(requests[-1])
    return requests


def compared(requests) -> Rechecked:
    suite = load_suite(requests[0].suite)
    trials = list(suite.trials(device="cpu"))
    folders = [ResultsDir(request.root) for request in requests]
    return compare_again(*folders, describe(suite, trials), trials[0], trials)


def test_what_draws_from_the_seeded_generators_comes_to_the_same_bits(twice):
    assert compared(twice) == Rechecked(key=twice[0].cohort.trials[0].key, is_equal=True)


def test_another_outcome_is_named_with_both_values(twice, monkeypatch):
    (record,) = ResultsDir(twice[1].root).records.iterdir()
    record.unlink()
    monkeypatch.setattr("harness.execution.own_training.trial_run.seed_generators", lambda seed: None)
    run(twice[1])
    found = compared(twice)
    assert not found.is_equal
    assert found.fault.startswith("end was ")


def test_findings_are_read_back_and_said_in_the_report(tmp_path, twice):
    suite = load_suite(twice[0].suite)
    manifest = describe(suite, list(suite.trials(device="cpu")))
    assert read_findings(tmp_path) == {}
    assert "No trial was trained twice" in replication(manifest, {})
    write_findings(ResultsDir(tmp_path), [Rechecked(key="a", is_equal=True), Rechecked(key="b", is_equal=False)])
    assert read_findings(tmp_path) == {"a": True, "b": False}
    assert "Of 2 trials trained twice, 1 came to the same bits." in replication(manifest, read_findings(tmp_path))
    (tmp_path / FINDINGS).write_text("{}", "utf-8")
    with pytest.raises(DamageError):
        read_findings(tmp_path)
