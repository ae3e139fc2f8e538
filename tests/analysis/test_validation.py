"""Claims before anything trains: which are refused, and how many comparisons come of the others."""

from dataclasses import replace

import pytest

from harness.analysis.validation import check_claims, comparisons_of
from harness.errors import SuiteError
from harness.spec.claim import Claim
from tests.support.manifests import a_manifest
from tests.support.verdicts import LRS, NORMS, SEEDS, SIZES

GRID = a_manifest(
    name="s",
    compare="norm",
    target_accuracy=0.9,
    axes={"norm": NORMS, "lr": LRS, "batch_size": SIZES, "world_size": [1, 2], "seed": list(range(SEEDS))},
    settings={"model": "mlp-8", "init": "he"},
    following={"steps": "batch_size"},
)


@pytest.mark.parametrize(
    ("claim", "word"),
    [
        (Claim.trend("batch", than="none", along="width"), "no axis of this suite: 'width'"),
        (Claim.trend("batch", than="none", along="seed"), "no axis of this suite: 'seed'"),
        (Claim.trend("batch", than="none", along="norm"), "no axis of this suite: 'norm'"),
        (Claim.trend("batch", than="none", along="steps"), "steps follows batch_size"),
        (Claim.trend("batch", than="none", along="world_size"), "3 values of world_size at least, got [1, 2]"),
        (Claim.trend("batch", than="none", along="batch_size", batch_size=[4, 16]), "got [4, 16]"),
        (Claim.trend("batch", than="none", along="lr", metric="probe.dead/1"), "none: give it probes="),
        (Claim.best_tuned("batch", than="none", metric="val_accuracy"), "judged on test data"),
        (Claim.best_tuned("batch", than="none", over="init"), "no axis of this suite: 'init'"),
        (Claim.best_tuned("batch", than="layer"), "no arm 'layer'"),
        (Claim.wider_lr_range("batch", than="none", lr=[0.01, 1.0]), "none between 0.01 and 1.0"),
        (Claim.wider_lr_range("batch", than="none", lr=0.1), "got lr=[0.1]"),
        (Claim.recovers("batch", lost_by="batch", against={"world_size": 1}), "got 'batch' twice"),
        (Claim.recovers("none", lost_by="batch", against={}), "where the one big batch stands"),
        (Claim.recovers("none", lost_by="batch", against={"norm": "batch"}), "where the one big batch stands"),
        (Claim.recovers("none", lost_by="batch", against={"world_size": 8}), "no world_size 8 in this suite"),
        (Claim.recovers("none", lost_by="batch", against={"world_size": [1]}), "one grid point"),
        (Claim.recovers("none", lost_by="batch", against={"batch_size": 4}), "equal batch_size"),
        (Claim.recovers("none", lost_by="batch", against={"world_size": 1}, at_least=80), "at_least in 0..1"),
        (Claim.better("none", than="batch", against={"norm": "batch", "lr": 0.1}), "leave out norm"),
        (Claim.matches("batch", published=97.2, within=0.01), "fraction: published must lie in 0..1, got 97.2"),
        (Claim.matches("batch", published=0.9, within=0), "give a margin above 0"),
        (Claim.matches("layer", published=0.9, within=0.1), "no arm 'layer'"),
        (Claim.better("batch", than="none", metric="val.loss"), "use Claim.more or Claim.less"),
        (Claim.more("batch", than="none", metric="test_acuracy"), "did you mean 'test_accuracy'"),
        (Claim.more("batch", than="none", metric="probe.dead/1 (mean)"), "unknown metric"),
        (Claim.more("batch", than="none", metric="test_loss", at="mean"), "is an outcome"),
    ],
)
def test_a_claim_that_the_suite_can_not_answer_is_refused_in_one_line(claim, word):
    with pytest.raises(SuiteError) as refused:
        check_claims([claim], GRID)
    assert word in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("values", [["relu", "tanh", "sigmoid"], [None, 1.0, 5.0], [0, 1, True]])
def test_what_is_tuned_is_a_number(values):
    manifest = replace(GRID, axes={"norm": NORMS, "max_grad_norm": values, "seed": list(range(SEEDS))})
    with pytest.raises(SuiteError, match="an axis of numbers, got max_grad_norm="):
        check_claims([Claim.best_tuned("batch", than="none", over="max_grad_norm")], manifest)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Claim.more("batch", than="none", metric="val.loss", by=1, by_factor=2), "either by or by_factor"),
        (lambda: Claim.more("batch", than="none", metric="val.loss", by_factor=0.5), "by_factor must be"),
        (lambda: Claim.more("batch", than="none", metric="val.loss", at="end"), "at must be one of"),
        (lambda: Claim.matches("batch", published="97 %", within=0.1), "either as published or as predicted"),
        (lambda: Claim.recovers("a", lost_by="b", against=1), "against must be a mapping"),
        (lambda: Claim.recovers("a", lost_by="b", against={"lr": 1}, within=0), "within must be"),
    ],
)
def test_a_claim_that_makes_no_sense_is_refused_where_it_is_made(make, word):
    with pytest.raises(SuiteError, match=word):
        make()


@pytest.mark.parametrize(
    ("claim", "comparisons"),
    [
        (Claim.better("batch", than="none"), 5 * 4 * 2),
        (Claim.trend("batch", than="none", along="batch_size", lr=0.1), 2),
        (Claim.best_tuned("batch", than="none", world_size=1), 4),
        (Claim.wider_lr_range("batch", than="none", world_size=1), 4),
        (Claim.recovers("none", lost_by="batch", against={"world_size": 1}, lr=0.1, batch_size=4), 1),
        (Claim.matches("batch", published=0.9, within=0.1, lr=[0.1, 0.3], batch_size=4), 4),
    ],
)
def test_the_plan_counts_the_comparisons_of_each_kind(claim, comparisons):
    check_claims([claim], GRID)
    assert comparisons_of(claim, GRID) == comparisons
