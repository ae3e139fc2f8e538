"""Results trained again: what must be equal is told from what rounding may move, and a stranger's suite is not run."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.storage.rechecking import MAX_SCORE, compare_again, is_foreign_suite, sample
from harness.storage.records import Record, ResultsDir, write_manifest, write_record
from tests.support.manifests import manifest_of
from tests.support.records import a_record
from tests.support.strategies import a_trial

TRIALS = [a_trial(seed=seed, device="cpu") for seed in range(4)]
HERE, THERE = (
    {"machine": "x86_64", "cpu": "AVX2", "torch": "2.13"},
    {"machine": "x86_64", "cpu": "SSE2", "torch": "2.13"},
)


def record(trial=TRIALS[0], made=HERE, accuracy=0.625, first=2.5, last=0.125, **changes):
    curves = a_record(trial).curves
    curves = {
        **curves,
        "train.loss": {"step": [0, 5], "value": [first, last]},
        "test.accuracy": {"step": [5], "value": [accuracy]},
    }
    return a_record(trial, **{"telemetry": {**made, "host": "a", "started": "1"}, "curves": curves, **changes})


def compared(tmp_path, before, after, kinds=(HERE,), others=()):
    """What comes of a trial that was recorded so, and is trained so on a machine of kind HERE."""
    places = [ResultsDir(tmp_path / name) for name in ("merged", "again")]
    for known in (before, *others):
        write_record(places[0], known)
    write_manifest(places[1], manifest_of(TRIALS, fingerprint=HERE))
    if after is not None:
        write_record(places[1], after)
    manifest = manifest_of(TRIALS, fingerprint=kinds[0], fingerprints=list(kinds) if len(kinds) > 1 else [])
    return compare_again(*places, manifest, TRIALS[0], TRIALS)


def test_equal_bits_are_equal_whoever_made_them_and_how_fast(tmp_path):
    other = record(telemetry={**THERE, "host": "b", "seconds_train": 9.0})
    assert compared(tmp_path, record(), other).is_equal


@pytest.mark.parametrize("kinds", [(HERE,), (HERE, THERE)])
def test_on_the_same_kind_of_machine_any_bit_that_differs_is_a_fault(tmp_path, kinds):
    found = compared(tmp_path, record(), record(last=0.125 + 1e-12), kinds)
    assert not found.is_equal
    assert found.fault == "it was made on this kind of machine, so bits should be equal"
    assert found.loss == pytest.approx(1e-12, rel=1e-3)


@pytest.mark.parametrize(
    ("made", "kinds"),
    [
        (THERE, (HERE, THERE)),
        (HERE, ({**HERE, "native": "g++"},)),  # its fingerprint is of another kind, as far as can be known
        (HERE, (HERE, {**HERE, "native": "g++"})),
        ({**HERE, "code_hash": "0"}, (HERE,)),
        ({**HERE, "backend": "vmap"}, (HERE,)),
        ({**HERE, "environment_changes": "numpy was 1.26, is 2.1"}, (HERE,)),
        ({}, (HERE,)),
    ],
)
def test_on_another_kind_of_machine_rounding_may_move_the_result(tmp_path, made, kinds):
    found = compared(tmp_path, record(made=made, last=0.375), record(accuracy=0.645), kinds)
    assert (found.is_equal, found.fault) == (False, "")
    assert (found.accuracy, found.loss) == pytest.approx((0.02, 0.25))


def test_an_accuracy_further_away_than_rounding_moves_it_is_a_fault(tmp_path):
    found = compared(tmp_path, record(made=THERE, accuracy=0.7), record(accuracy=0.7 - MAX_SCORE - 0.01))
    assert found.fault == "its accuracy is further away than rounding, or another seed, moves it"


@pytest.mark.parametrize(("others", "is_fault"), [((0.6, 0.61, 0.62), True), ((0.3, 0.6, 0.62), False)])
def test_where_seeds_differ_much_rounding_may_move_as_much(tmp_path, others, is_fault):
    known = [record(trial, accuracy=value) for trial, value in zip(TRIALS[1:], others, strict=True)]
    found = compared(tmp_path, record(made=THERE, accuracy=0.9), record(accuracy=0.6), others=known)
    assert bool(found.fault) is is_fault
    assert found.accuracy == pytest.approx(0.3)


def test_another_loss_before_the_first_step_is_a_fault_on_any_machine(tmp_path):
    assert compared(tmp_path / "a", record(made=THERE, first=2.501), record()).fault == ""
    found = compared(tmp_path / "b", record(made=THERE, first=2.51), record())
    assert found.fault == "its loss was 2.51 before the first step, and here it is 2.5"


def test_low_precision_may_move_the_first_loss_further(tmp_path):
    trial = replace(TRIALS[0], precision="bfloat16")
    places = [ResultsDir(tmp_path / name) for name in ("merged", "again")]
    write_record(places[0], record(trial, THERE, first=2.51))
    write_record(places[1], record(trial))
    assert compare_again(*places, manifest_of([trial]), trial, [trial]).fault == ""


@pytest.mark.parametrize(("before", "after"), [(None, 3), (3, None)])
def test_a_loss_that_is_finite_on_one_side_alone_is_a_fault(tmp_path, before, after):
    facts = a_record().facts
    one, other = (record(made=THERE, facts={**facts, "fail_step": step}) for step in (before, after))
    words = ["its loss was finite, and here it is not", "its loss was not finite, and here it is"]
    assert compared(tmp_path, one, other).fault == words[before is not None]


def test_a_trial_that_can_not_be_trained_again_is_a_fault(tmp_path):
    assert compared(tmp_path / "a", record(), None).fault == "it could not be trained again"
    failed = Record(key=TRIALS[0].key, trial=TRIALS[0].content, outcome="oom", error="too large")
    assert compared(tmp_path / "b", record(), failed).fault == "it could not be trained again: oom, too large"


def test_a_sample_is_the_same_in_whatever_order_trials_are_named():
    trials = [a_trial(seed=seed) for seed in range(50)]
    chosen = sample(trials, 3)
    assert len(chosen) == 3
    assert sample(trials[::-1], 3) == chosen
    assert sample(trials, 0.021) == chosen[:2], "a share is rounded up"
    assert sample(trials, 0.1) == sample(trials, 5)
    assert sorted(t.seed for t in sample(trials, 1.0)) == sorted(t.seed for t in sample(trials, 99)) == list(range(50))
    assert [trial.seed for trial in chosen] != [0, 1, 2]


@pytest.mark.parametrize(
    ("suite", "folders", "is_foreign"),
    [
        ("suites/s.py", ["results", "a/s", "/elsewhere/s"], False),
        ("s", ["results", "a"], False),
        ("a/s.py", ["results"], False),
        ("a/s.py", ["a"], True),
        ("a/s.py", ["a/results/s"], True),
        ("a/b/../s.py", ["a/b"], True),
        ("../s.py", ["results"], True),
        ("/elsewhere/s.py", ["results"], True),
        ("suites/s.py", ["."], True),
        ("suites/s.py", [".."], True),
        ("suites/s.py", ["suites"], True),
        ("link/s.py", ["a"], True),
        ("a\0b.py", ["results"], True),
        ("", ["results"], True),
    ],
)
def test_a_suite_that_may_have_come_with_the_results_is_foreign(tmp_path, monkeypatch, suite, folders, is_foreign):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    assert is_foreign_suite(Path(suite), map(Path, folders)) is is_foreign
