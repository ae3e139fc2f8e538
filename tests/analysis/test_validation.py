"""Claims before anything trains: which are refused, and how many comparisons come of the others."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.claim_pairs import claim_pairs
from harness.analysis.validation import check_claims, comparisons_of
from harness.analysis.verdicts import verdicts
from harness.errors import SuiteError
from harness.spec.claim import Claim
from harness.spec.trial import Trial
from harness.storage.tables import Results
from tests.support.manifests import a_manifest, declared, manifest_of
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
        (Claim.more("batch", than="none", metric="test_loss", at="batch.loss <= 0.1"), "is an outcome"),
        (Claim.more("batch", than="none", metric="val.loss", at="batch.los <= 0.1"), "did you mean 'loss'"),
        (Claim.more("batch", than="none", metric="val.loss", at="train.loss <= 0.1"), "no train.loss on the way"),
        (Claim.more("batch", than="none", metric="train.loss", at="batch.loss <= 1"), "no train.loss on the way"),
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
        (lambda: Claim.more("batch", than="none", metric="val.loss", at="batch.loss < 0.1"), "got 'batch.loss < 0.1'"),
        (
            lambda: Claim.more("batch", than="none", metric="val.loss", at="batch.loss <= 0.1.2"),
            "got 'batch.loss <= 0.1.2'",
        ),
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


TRIALS = [
    Trial(dataset="digits", model="mlp-8", norm=norm, lr=lr, batch_size=size, seed=seed, steps=5)
    for norm in ("batch", "none", "layer")
    for lr in (0.1, 0.3, 1.0)
    for size in (4, 16)
    for seed in (0, 1)
]
CLAIMS = [
    Claim.better("batch", than="none"),
    Claim.better("batch", than="none", lr=[0.1, 1.0]),
    Claim.better("batch", than="batch", against={"lr": 0.3}),
    Claim.better("layer", than="none", against={"batch_size": 4}, lr=0.1),
]


@given(st.lists(st.sampled_from(TRIALS), min_size=2, unique=True), st.sampled_from(CLAIMS))
def test_the_plan_counts_the_grid_points_that_exist_where_trials_make_up_no_whole_grid(trials, claim):
    """As many as are compared once there are results."""
    manifest = manifest_of([*trials, *TRIALS[:1]] if TRIALS[0] not in trials else trials, target_accuracy=0.9)
    if not {"norm", "lr", "batch_size"} <= set(manifest.points):
        return
    columns = pd.DataFrame(dict(manifest.points)).assign(status="ok", test_accuracy=0.5, classes=10)
    columns = columns.assign(seed=columns.get("seed", 0))
    results = Results(folder=Path(), manifest=manifest, trials=columns, curves=columns[:0], telemetry=columns[:0])
    claim = replace(claim, metric="test_accuracy")
    assert comparisons_of(claim, manifest) == len(claim_pairs(claim, results))


def test_a_claim_on_ranges_counts_the_points_beside_its_learning_rates_that_both_arms_have():
    trials = [trial for trial in TRIALS if trial.norm == "batch" or trial.batch_size == 16]
    manifest = manifest_of(trials, target_accuracy=0.9)
    assert comparisons_of(Claim.wider_lr_range("batch", than="none"), manifest) == 1
    assert comparisons_of(Claim.matches("batch", published=0.9, within=0.1), manifest) == 6
    assert (
        comparisons_of(Claim.recovers("none", lost_by="layer", against={"norm": "batch", "batch_size": 4}), manifest)
        == 3
    )


def batches_and_ghosts():
    """Batches of 4 and 16 with batch norm, those of 16 with ghosts of 4 as well."""
    sizes = [("batch", 4, None), ("batch", 16, None), ("ghost_batch", 16, 4)]
    return [
        Trial(dataset="digits", model="mlp-8", norm=n, lr=0.1, batch_size=s, norm_batch=g, seed=seed, steps=5)
        for n, s, g in sizes
        for seed in range(12)
    ]


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        (
            Claim.better("ghost_batch", than="batch", batch_size=16),
            "the trials of ghost_batch and batch meet at no grid point: they differ in norm batch, so say where the "
            "other stands with against={'norm_batch': None}",
        ),
        (Claim.better("ghost_batch", than="batch", batch_size=4), "no trial of ghost_batch is at batch size 4"),
    ],
)
def test_a_claim_that_no_pair_of_trials_can_answer_is_refused_with_what_would_pair_them(claim, why):
    with pytest.raises(SuiteError) as refused:
        check_claims([claim], manifest_of(batches_and_ghosts()))
    assert str(refused.value) == f"claim 1 (better): {why}"


def test_what_follows_from_the_batch_keeps_no_pair_apart():
    """The table has the examples that share statistics also where the suite leaves them to follow from the batch."""
    trials = batches_and_ghosts()
    claims = [
        Claim.better("batch", than="batch", batch_size=4, against={"batch_size": 16}),
        Claim.better("ghost_batch", than="batch", batch_size=16, against={"norm_batch": None}),
    ]
    manifest = manifest_of(trials, claims=declared(*(replace(c, metric="test_accuracy") for c in claims)))
    check_claims(claims, manifest)
    rows = [
        {**{name: getattr(trial, name) for name in manifest.points}, "norm_batch": trial.norm_batch or trial.batch_size}
        for trial in trials
    ]
    table = pd.DataFrame(rows).assign(status="ok", test_accuracy=0.9, classes=10, key=[t.key for t in trials])
    accuracy = 0.9 + 0.02 * (table["batch_size"] == 4) + 0.01 * (table["norm"] == "ghost_batch")
    table = table.assign(test_accuracy=accuracy, norm_batch=table["norm_batch"].astype("Int64"))
    results = Results(folder=Path(), manifest=manifest, trials=table, curves=table[:0], telemetry=table[:0])
    (small, ghost) = verdicts(results)
    assert [(verdict.word, verdict.comparisons[0].n) for verdict in (small, ghost)] == [("supported", 12)] * 2
    assert small.comparisons[0].estimate == pytest.approx(0.02)
    assert ghost.comparisons[0].estimate == pytest.approx(0.01)
