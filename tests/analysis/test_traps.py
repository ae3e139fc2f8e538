"""The traps of a comparison over seeds, each with a test that the wrong way would fail; how often they err."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness.analysis import pairing, stats
from harness.analysis.comparison import adjusted, compare_pairs
from harness.analysis.metrics import metrics_of, trial_scores
from harness.analysis.verdicts import verdicts
from harness.spec.claim import Claim
from tests.support.simulated import simulate

AXES = {"norm": ["batch", "none"], "lr": [0.01, 0.03, 0.1], "seed": list(range(8))}
ARM = {"batch": 0, "none": 1}


def rng():
    return np.random.default_rng(0)


def with_accuracy(results, values):
    """The results with test accuracies put in: (norm, lr, seed) -> accuracy."""
    trials = results.trials.copy()
    keys = zip(trials["norm"], trials["lr"], trials["seed"], strict=True)
    trials["test_accuracy"] = [values(*key) for key in keys]
    trials["status"] = "ok"
    return trials


def pairs_of(results, trials, metric="test_accuracy"):
    return pairing.metric_pairs(trials, results.manifest, "batch", "none", metric)


def compared(results, trials):
    return adjusted([compare_pairs(pairs, margin=0.0) for pairs in pairs_of(results, trials)])


def test_n_is_the_number_of_seeds_not_of_evaluations_or_examples(tmp_path):
    for evaluations in (5, 50):
        results = simulate(tmp_path, AXES, evaluations=evaluations)
        assert [c.n for c in compared(results, results.trials)] == [8, 8, 8]


def test_a_rate_of_failure_has_an_interval_only_where_each_of_its_trials_is_of_another_seed(tmp_path):
    results = simulate(tmp_path, AXES, claims=[Claim.wider_lr_range("batch", than="none")])
    (over_lrs, *_), each = verdicts(results, rng())[0].comparisons, compared(results, results.trials)
    assert over_lrs.arm_trials == 24
    assert np.isnan([over_lrs.arm_failed_low, over_lrs.than_failed_high]).all()
    assert [(c.arm_failed_low, c.arm_failed_high) for c in each] == [stats.wilson(0, 8)[1:]] * 3


def test_seeds_are_paired_so_that_what_they_share_cancels(tmp_path):
    results = simulate(tmp_path, AXES)
    shared = np.random.default_rng(1).normal(0, 0.05, 8)
    trials = with_accuracy(
        results, lambda norm, lr, seed: 0.9 + shared[seed] + 0.004 * (norm == "batch") + 0.0001 * seed
    )
    (first, *_) = compared(results, trials)
    assert first.p < 0.05
    ours, theirs = (
        trials.loc[(trials["norm"] == norm) & (trials["lr"] == 0.01), "test_accuracy"] for norm in AXES["norm"]
    )
    assert scipy_stats.ttest_ind(ours, theirs).pvalue > 0.5


def test_the_order_of_the_rows_does_not_matter(tmp_path):
    results = simulate(tmp_path, AXES)
    mixed = results.trials.sample(frac=1, random_state=3)
    by_lr = [
        sorted((c.point, c.estimate, c.p) for c in compared(results, trials)) for trials in (results.trials, mixed)
    ]
    assert by_lr[0] == by_lr[1]


def test_an_lr_is_chosen_on_validation_data_of_the_other_seeds():
    noise = np.random.default_rng(5).normal(0.8, 0.02, (200, 10))  # all learning rates are equally good
    other = np.random.default_rng(6).normal(0.8, 0.02, (200, 10))
    flattered = noise.max(axis=1).mean()
    assert flattered > 0.82
    assert stats.cross_fitted(other, noise).mean() == pytest.approx(0.8, abs=0.005)


def test_a_trial_that_failed_is_scored_and_never_dropped(tmp_path):
    results = simulate(tmp_path, AXES)
    trials = with_accuracy(results, lambda norm, lr, seed: 0.9)
    failed = (trials["norm"] == "none") & (trials["seed"] < 3) & (trials["lr"] == 0.1)
    trials.loc[failed, "status"] = "nonfinite"
    trials.loc[failed, ["test_accuracy", "test_loss"]] = np.nan
    last = compared(results, trials)[-1]
    assert (last.n, last.than_failed, last.than_finished) == (8, 3, 8)
    assert last.estimate == pytest.approx(3 / 8 * (0.9 - 0.1))
    assert (
        trial_scores(trials[failed], metrics_of(results.manifest)["test_loss"]).tolist()
        == trials.loc[failed, "initial_loss"].tolist()
    )
    assert trial_scores(trials[failed], metrics_of(results.manifest)["steps_to_target"]).tolist() == [400] * 3


def test_three_seeds_give_no_p_and_no_verdict_but_descriptive(tmp_path):
    few = {**AXES, "seed": [0, 1, 2]}
    results = simulate(tmp_path, few, claims=[Claim.better("batch", than="none", lr=0.1)])
    assert all(np.isnan(c.p) and np.isnan(c.p_adjusted) for c in compared(results, results.trials))
    (verdict,) = verdicts(results, rng())
    assert verdict.word == "descriptive"
    assert "p =" not in verdict.sentence
    assert "p <" not in verdict.sentence


def test_equal_seeds_give_a_constant_without_a_warning(tmp_path):
    results = simulate(tmp_path, AXES)
    trials = with_accuracy(results, lambda norm, lr, seed: 0.75 + 0.125 * (norm == "batch"))
    for c in compared(results, trials):
        assert (c.estimate, c.low, c.high) == (0.125, 0.125, 0.125)


def test_ties_do_not_depend_on_the_last_bits_of_a_sum():
    differences = np.array([1, -1, 2, 0, 1, 3, -2, 1]) / 540
    exact = np.array([1, -1, 2, 0, 1, 3, -2, 1.0])
    assert stats.sign_flip_p(differences, rng()) == stats.sign_flip_p(exact, rng())


def test_an_arm_that_misses_a_seed_is_paired_where_it_can_be_and_the_rest_is_counted(tmp_path):
    results = simulate(tmp_path, AXES)
    trials = results.trials.copy()
    gone = (trials["norm"] == "none") & (trials["seed"] == 5)
    trials.loc[gone, "status"] = "crashed"
    trials.loc[gone, "test_accuracy"] = np.nan
    assert [(c.n, c.n_unpaired) for c in compared(results, trials)] == [(7, 1)] * 3


def test_a_missing_score_is_never_ranked_best():
    ranks = stats.mean_ranks(np.array([[0.9, np.nan, 0.8], [0.7, np.nan, 0.95]]))
    assert ranks[1] == 3


def test_half_a_grid_says_how_much_of_it_there_is(tmp_path):
    results = simulate(tmp_path, AXES, keep=0.5, claims=[Claim.better("batch", than="none", lr=0.1)])
    (verdict,) = verdicts(results, rng())
    assert "So far 8 of 16 trials have a result." in verdict.sentence


def test_comparisons_over_lrs_are_corrected_for_their_number(tmp_path):
    results = simulate(tmp_path, AXES)
    trials = with_accuracy(results, lambda norm, lr, seed: 0.9 + 0.01 * (norm == "batch") * (seed > 0))
    comparisons = compared(results, trials)
    assert all(c.p_adjusted == pytest.approx(min(1, 3 * c.p)) for c in comparisons)
    assert {c.family for c in comparisons} == {3}


def test_a_range_whose_end_was_not_seen_is_a_bound():
    lrs, accuracy = np.array([0.01, 0.1, 1.0]), np.array([0.5, 0.95, 0.96])
    usable = stats.usable_range(lrs, accuracy, 0.9)
    assert (usable.low_seen, usable.high_seen) == (True, False)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.floats(-3, 3), st.floats(0.1, 10))
def test_intervals_move_and_grow_with_the_data(values, shift, scale):
    plain, moved = stats.mean_interval(np.array(values)), stats.mean_interval(np.array(values) * scale + shift)
    np.testing.assert_allclose(moved, np.array(plain) * scale + shift, atol=1e-9)


@given(st.lists(st.floats(-1, 1).filter(lambda x: abs(x) > 1e-6), min_size=1, max_size=11))
def test_the_sign_flip_p_knows_no_sign_scale_or_order(values):
    differences = np.array(values)
    p = stats.sign_flip_p(differences, rng())
    assert stats.p_floor(len(values)) <= p <= 1
    for other in (-differences, differences * 3, differences[::-1]):
        assert stats.sign_flip_p(other, rng()) == pytest.approx(p)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=15))
def test_holm_keeps_the_order_and_never_helps(values):
    p = np.array(values)
    corrected = stats.holm(p)
    assert (corrected >= p - 1e-15).all()
    assert (corrected <= 1).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= -1e-15).all()


@pytest.mark.parametrize("n", [5, 10])
def test_a_95_percent_interval_covers_the_truth_in_95_percent_of_experiments(n):
    draws = np.random.default_rng(11).normal(0.3, 2, (4000, n))
    inside = [interval.low <= 0.3 <= interval.high for interval in map(stats.mean_interval, draws)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.012)


KINDS = [  # effect of batch norm in points, claim, verdict
    (5, Claim.better("batch", than="none", by=0.01), "supported"),
    (-5, Claim.better("batch", than="none", by=0.01), "refuted"),
    (1, Claim.better("batch", than="none", by=0.01), "undecided"),
    (0, Claim.equivalent("batch", to="none", within=0.02, tau=0.35), "supported"),
    (5, Claim.equivalent("batch", to="none", within=0.02), "refuted"),
    (2, Claim.equivalent("batch", to="none", within=0.02), "undecided"),
]


@pytest.mark.parametrize(("points", "claim", "word"), KINDS, ids=lambda value: getattr(value, "kind", str(value)))
def test_a_verdict_says_what_the_numbers_say(tmp_path, points, claim, word):
    results = simulate(tmp_path, AXES, claims=[claim])
    noise = np.random.default_rng(4).normal(0, 0.004, (2, 8))
    trials = with_accuracy(
        results, lambda norm, lr, seed: 0.8 + noise[ARM[norm], seed] + points / 100 * (norm == "batch")
    )
    (verdict,) = verdicts(replace(results, trials=trials), rng())
    assert verdict.word == word


@pytest.mark.parametrize(
    ("claim", "word"),
    [
        (Claim.wider_lr_range("batch", than="none", at_least_decades=0.5), "supported"),
        (Claim.wider_lr_range("none", than="batch"), "refuted"),
    ],
)
def test_a_wider_range_is_found_and_a_narrower_one_refuted(tmp_path, claim, word):
    axes = {**AXES, "lr": [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]}
    (verdict,) = verdicts(simulate(tmp_path, axes, claims=[claim]), rng())
    assert verdict.word == word
