"""Claims on values of curves, on losses and on the generalisation gap, and which way of each is good."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.formatting import POINTS
from harness.analysis.measures.curve_values import with_curve
from harness.spec.claim import Claim
from harness.storage.tables import CURVES, Results
from tests.support.manifests import a_manifest
from tests.support.simulated import simulate
from tests.support.verdicts import NORMS, SEEDS, judged, luck, verdict_on


def probed(folder, claim, values, status=None):
    """A verdict where a probe's curve has these values at steps 1, 2, 3: (norm, seed) -> values."""
    axes = {"norm": NORMS, "seed": range(SEEDS)}
    results = simulate(folder, axes, claims=[claim], probes="saturation")
    trials = results.trials.assign(
        status=[status(row) if status else "ok" for row in results.trials.to_dict("records")]
    )
    rows = [
        (row["key"], step, 1.0, "probe", "saturated/8", value)
        for row in trials.to_dict("records")
        for step, value in zip((3, 1, 2), np.roll(values(row["norm"], row["seed"]), 1), strict=True)
    ]
    curves = pd.DataFrame(rows, columns=results.curves.columns)
    return verdict_on(replace(results, trials=trials, curves=pd.concat([results.curves, curves])))


def saturating(norm, seed):
    noise = luck(0.01, (SEEDS,))[seed]
    return np.array([0.1, 0.3, 0.8]) + noise if norm == "none" else np.array([0.1, 0.2, 0.4]) + noise / 2


def test_what_theory_foretells_of_the_start_is_judged_though_no_net_trains(tmp_path):
    claim = Claim.matches("batch", published=1.5, within=0.1, metric="probe.saturated/8", at="first")
    noise = luck(0.01, (SEEDS,))
    verdict = probed(
        tmp_path, claim, lambda norm, seed: [1.5 + noise[seed]] * 3, status=lambda row: "no_better_than_init"
    )
    assert verdict.word == "supported"


@pytest.mark.parametrize(
    ("at", "estimate", "word"),
    [
        ("last", 0.4, "supported"),
        ("mean", 0.5 / 3, "supported"),
        ("first", 0, "undecided"),
        ("range", 0.4, "supported"),
    ],
)
def test_a_claim_is_about_the_last_the_first_or_the_mean_value_of_a_curve_or_its_range(tmp_path, at, estimate, word):
    claim = Claim.more("none", than="batch", metric="probe.saturated/8", at=at)
    verdict = probed(tmp_path, claim, saturating)
    assert verdict.word == word
    assert verdict.comparisons[0].estimate == pytest.approx(estimate, abs=0.01)
    assert "share of saturated units in layer 8" in verdict.statement


@pytest.mark.parametrize(("at", "word"), [("first", "supported"), ("last", "refuted")])
def test_a_value_of_a_curve_matches_a_figure_whether_or_not_the_net_has_trained(tmp_path, at, word):
    claim = Claim.matches("none", published=0.1, within=0.03, metric="probe.saturated/8", at=at)
    verdict = probed(tmp_path, claim, saturating, status=lambda row: "no_better_than_init")
    assert verdict.word == word


AT_EQUAL_LOSS = "batch.loss <= 0.5"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6))
def test_the_value_of_a_curve_where_another_falls_to_a_level_lies_on_the_line_between_evaluations(points):
    """Against a walk from evaluation to evaluation; before the first step there is no loss of batches."""
    rows = [("k", 0, 0.0, "test", "accuracy", 0.1)]
    for step, (loss, accuracy) in enumerate(points, start=1):
        rows += [("k", step, 0.0, "batch", "loss", loss), ("k", step, 0.0, "test", "accuracy", accuracy)]
    expected, before = np.nan, None
    for loss, accuracy in points:
        if loss <= 0.5:
            expected = accuracy if before is None else np.interp(0.5, (loss, before[0]), (accuracy, before[1]))
            break
        before = (loss, accuracy)
    trials = pd.DataFrame({"key": ["k"], "status": ["ok"]})
    curves = pd.DataFrame(rows, columns=CURVES.names).sample(frac=1, random_state=3)
    manifest = a_manifest(target_accuracy=0.9)
    results = Results(folder=Path(), manifest=manifest, trials=trials, curves=curves, telemetry=trials)
    column, metric = with_curve(results, "test.accuracy", AT_EQUAL_LOSS)
    assert column[metric.name].tolist() == pytest.approx([expected], nan_ok=True, abs=1e-9)
    assert metric.words == "test accuracy where the loss of the training batches first falls to 0.5"
    assert metric.unit is POINTS


def test_arms_are_compared_at_equal_training_loss_whichever_is_ahead_in_the_end(tmp_path):
    """Here none learns twice as fast and is ahead at the end; at equal loss batch is, by 4 points."""
    claim = Claim.more("batch", than="none", by=0.03, metric="test.accuracy", at=AT_EQUAL_LOSS)
    results = simulate(tmp_path, {"norm": NORMS, "seed": range(SEEDS)}, claims=[claim])
    noise, rows = luck(0.002, (SEEDS,)), []
    for row in results.trials.to_dict("records"):
        for step in range(1, 5):
            learnt = step * (0.2 if row["norm"] == "none" else 0.1) + noise[row["seed"]]
            bonus = 0.04 * (row["norm"] == "batch")
            at_step = (row["key"], step, 1.0)
            rows += [(*at_step, "batch", "loss", 0.75 - learnt), (*at_step, "test", "accuracy", 0.3 + learnt + bonus)]
    trials = results.trials.assign(status="ok")
    curves = pd.DataFrame(rows, columns=results.curves.columns)
    verdict = verdict_on(replace(results, trials=trials, curves=curves))
    assert verdict.word == "supported"
    assert verdict.comparisons[0].estimate == pytest.approx(0.04, abs=1e-6)
    assert verdict.statement == (
        "batch has a higher test accuracy where the loss of the training batches first falls to 0.5 than none, "
        "by more than 3.0 points"
    )
    never = curves.assign(value=curves["value"].where(curves["key"] != trials["key"].iloc[0], 0.9))
    verdict = verdict_on(replace(results, trials=trials, curves=never))
    assert (verdict.word, verdict.comparisons[0].n_missing) == ("undecided", 1)


def test_less_is_more_of_the_other_arm(tmp_path):
    less = probed(tmp_path, Claim.less("batch", than="none", by=0.2, metric="probe.saturated/8"), saturating)
    more = probed(tmp_path, Claim.more("none", than="batch", by=0.2, metric="probe.saturated/8"), saturating)
    assert less.word == more.word == "supported"
    assert repr(less.comparisons) == repr(more.comparisons)
    assert (
        less.statement == "batch has a lower share of saturated units in layer 8 at the end than none, by more than 0.2"
    )
    assert probed(tmp_path, Claim.less("none", than="batch", metric="probe.saturated/8"), saturating).word == "refuted"


@pytest.mark.parametrize(("factor", "word"), [(1.5, "supported"), (3, "refuted"), (2, "undecided")])
def test_a_factor_is_compared_on_a_scale_of_logarithms(tmp_path, factor, word):
    claim = Claim.more("none", than="batch", metric="probe.saturated/8", by_factor=factor)
    verdict = probed(
        tmp_path,
        claim,
        lambda norm, seed: saturating(norm, 0) * np.exp(luck(0.05, (2, SEEDS))[NORMS.index(norm), seed]),
    )
    assert verdict.word == word
    assert "times as high with none as with batch" in verdict.sentence


def test_a_value_that_is_missing_leaves_a_claim_undecided_and_is_said(tmp_path):
    claim = Claim.more("none", than="batch", metric="probe.saturated/8")
    lost = lambda row: "nonfinite" if row["norm"] == "none" and row["seed"] == 4 else "ok"  # noqa: E731
    verdict = probed(tmp_path, claim, saturating, status=lost)
    assert (verdict.word, verdict.comparisons[0].n_missing, verdict.comparisons[0].n) == ("undecided", 1, SEEDS - 1)
    assert "Without a score: 1 result" in verdict.sentence


@pytest.mark.parametrize("make", [Claim.more, Claim.less])
def test_more_of_a_loss_is_more_although_less_is_better(tmp_path, make):
    noise = luck(0.01, (2, SEEDS))
    loss = lambda row: 0.3 + 0.2 * (row["norm"] == "batch") + noise[NORMS.index(row["norm"]), row["seed"]]  # noqa: E731
    axes = {"norm": NORMS, "seed": range(SEEDS)}
    verdict = judged(tmp_path, axes, make("batch", than="none", metric="test_loss"), lambda row: 0.9, test_loss=loss)
    assert verdict.word == ("supported" if make == Claim.more else "refuted")


def gap(row):
    return 0.95 + 0.03 * (row["norm"] == "none") + luck(0.003, (2, SEEDS))[NORMS.index(row["norm"]), row["seed"]]


def test_the_gap_is_training_accuracy_minus_test_accuracy_and_less_of_it_is_better(tmp_path):
    claim = Claim.better("batch", than="none", by=0.01, metric="generalisation_gap")
    axes = {"norm": NORMS, "seed": range(SEEDS)}
    verdict = judged(tmp_path, axes, claim, lambda row: 0.9, train_accuracy=gap)
    assert verdict.word == "supported"
    assert verdict.comparisons[0].estimate == pytest.approx(0.03, abs=0.005)
    assert "smaller" in verdict.statement


@pytest.mark.parametrize("arm", NORMS)
def test_a_trial_that_failed_has_no_gap_that_could_speak_for_an_arm(tmp_path, arm):
    claim = Claim.better("batch", than="none", metric="generalisation_gap")
    results = simulate(tmp_path, {"norm": NORMS, "seed": range(SEEDS)}, claims=[claim])
    trials = results.trials.assign(
        test_accuracy=0.9, train_accuracy=[gap(r) for r in results.trials.to_dict("records")]
    )
    trials["status"] = np.where((trials["norm"] == arm) & (trials["seed"] == 0), "no_better_than_init", "ok")
    verdict = verdict_on(replace(results, trials=trials))
    assert verdict.word == "undecided"
    assert "counts as unknown" in verdict.sentence
