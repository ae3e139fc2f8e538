"""Trends, times, ranges and published figures: what their verdicts follow, and what is told beside them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as scipy_stats

from harness.analysis import stats
from harness.errors import SuiteError
from harness.spec.claim import Claim
from tests.support.simulated import simulate
from tests.support.verdicts import LRS, NORMS, SEEDS, SIZES, judged, luck, verdict_on


def leading(slope, start=0.0):
    """Accuracy in which the lead of batch over none changes by `slope` per doubling of the batch size."""
    noise = luck()
    return lambda row: (
        0.7
        + (start + slope * np.log2(row["batch_size"])) * (row["norm"] == "batch")
        + noise[NORMS.index(row["norm"]), SIZES.index(row["batch_size"]), row["seed"]]
    )


TREND = {"norm": NORMS, "batch_size": SIZES, "seed": range(SEEDS)}


@pytest.mark.parametrize(
    ("slope", "by", "word"),
    [(0.02, 0.005, "supported"), (0.02, 0.04, "refuted"), (-0.02, 0.0, "refuted"), (0.005, 0.005, "undecided")],
)
def test_a_trend_follows_the_slope_of_the_lead(tmp_path, slope, by, word):
    claim = Claim.trend("batch", than="none", along="batch_size", by=by)
    assert judged(tmp_path, TREND, claim, leading(slope)).word == word


def test_a_lead_that_is_large_and_constant_is_no_trend(tmp_path):
    verdict = judged(tmp_path, TREND, Claim.trend("batch", than="none", along="batch_size"), leading(0.0, start=0.2))
    assert verdict.word == "undecided"


def test_the_slope_is_that_of_a_line_fitted_for_each_seed_and_the_trend_test_that_of_page(tmp_path):
    values = leading(0.02)
    verdict = judged(tmp_path, TREND, Claim.trend("batch", than="none", along="batch_size"), values)
    (comparison,) = verdict.comparisons
    lead = np.array(
        [
            [
                values({"norm": "batch", **at}) - values({"norm": "none", **at})
                for size in SIZES
                for at in [{"batch_size": size, "seed": seed}]
            ]
            for seed in range(SEEDS)
        ]
    )
    slopes = [scipy_stats.linregress(np.log2(SIZES), row).slope for row in lead]
    ends = scipy_stats.ttest_1samp(slopes, 0).confidence_interval(0.95)
    assert (comparison.estimate, comparison.low, comparison.high) == pytest.approx((np.mean(slopes), *ends))
    assert comparison.n == SEEDS
    assert comparison.reference_p == pytest.approx(scipy_stats.page_trend_test(lead).pvalue)
    assert "Page's trend test" in verdict.sentence
    assert verdict.statement == "the lead of batch over none in test accuracy grows with batch size"


def test_a_seed_without_all_points_of_a_trend_is_left_out_and_counted(tmp_path):
    results = simulate(tmp_path, TREND, claims=[Claim.trend("batch", than="none", along="batch_size")])
    gone = (results.trials["seed"] == 2) & (results.trials["batch_size"] == 16) & (results.trials["norm"] == "none")
    trials = results.trials.assign(status=results.trials["status"].mask(gone, "crashed"))
    (comparison,) = verdict_on(replace(results, trials=trials)).comparisons
    assert (comparison.n, comparison.n_unpaired, comparison.n_missing) == (SEEDS - 1, 1, 0)


def test_beside_times_stands_the_log_rank_test_for_reference(tmp_path):
    claim, draws = Claim.sooner("batch", than="none"), np.random.default_rng(8).integers(20, 390, (2, SEEDS))
    axes = {"norm": NORMS, "seed": range(SEEDS)}
    steps = lambda row: draws[NORMS.index(row["norm"]), row["seed"]] + 10.0 * (row["norm"] == "none")  # noqa: E731
    never = lambda row: np.nan if row["norm"] == "none" and row["seed"] < 4 else steps(row)  # noqa: E731
    verdict = judged(tmp_path, axes, claim, lambda row: 0.9, steps_to_target=never)
    (comparison,) = verdict.comparisons
    reached = np.arange(SEEDS) >= 4
    theirs = np.where(reached, draws[1] + 10.0, 400.0)
    expected = stats.log_rank_p(draws[0].astype(float), np.ones(SEEDS, bool), theirs, reached)
    assert comparison.reference_p == pytest.approx(expected)
    assert comparison.reference_p != comparison.p
    assert "for reference, log-rank test" in verdict.sentence


def test_beside_a_range_stands_the_sensitivity_to_lr(tmp_path):
    claim = Claim.wider_lr_range("batch", than="none")
    axes = {"norm": NORMS, "lr": LRS, "seed": range(SEEDS)}
    loss = lambda row: 0.2 + row["lr"] * (1 + row["seed"] / 9) * (row["norm"] == "none")  # noqa: E731
    verdict = judged(tmp_path, axes, claim, lambda row: 0.95, test_loss=loss, initial_loss=lambda row: 1.0)
    (beside,) = (c for c in verdict.comparisons if not c.verdict)
    seeds = [
        stats.lr_sensitivity(np.array([loss({"norm": "none", "lr": lr, "seed": seed}) for lr in LRS]), 1.0)
        for seed in range(SEEDS)
    ]
    assert (beside.metric, beside.arm_mean) == ("lr_sensitivity", 0.0)
    assert (beside.than_mean, beside.estimate) == pytest.approx((np.mean(seeds), np.mean(seeds)))
    assert "he loss added by picking a learning rate at random instead of the best" in verdict.sentence


@pytest.mark.parametrize(("accuracy", "word"), [(0.972, "supported"), (0.9, "refuted"), (0.9616, "undecided")])
def test_a_mean_matches_a_published_figure_or_does_not(tmp_path, accuracy, word):
    claim = Claim.matches("batch", published=0.97, within=0.01, tau=0.3)
    noise = luck(0.004, (SEEDS,))
    verdict = judged(tmp_path, {"norm": NORMS, "seed": range(SEEDS)}, claim, lambda row: accuracy + noise[row["seed"]])
    assert verdict.word == word
    (comparison,) = verdict.comparisons
    ends = scipy_stats.ttest_1samp(accuracy + noise - 0.97, 0).confidence_interval(0.95)
    assert (comparison.low, comparison.high) == pytest.approx((ends.low, ends.high))
    assert (comparison.n, comparison.n_unpaired, comparison.than_trials) == (SEEDS, 0, 0)
    assert verdict.statement == "batch matches the published test accuracy, 97.0 %, within 1.0 points"
    assert "with published" not in verdict.sentence


@pytest.mark.parametrize(
    ("claim", "word"),
    [
        (Claim.matches("batch", published=0.1, within=0.01), "refuted"),
        (Claim.equivalent("batch", to="none", within=0.01), "undecided"),
    ],
)
def test_an_arm_that_always_fails_matches_no_figure_and_two_are_not_known_to_be_equal(tmp_path, claim, word):
    results = simulate(tmp_path, {"norm": NORMS, "seed": range(SEEDS)}, claims=[claim], status="nonfinite")
    assert verdict_on(results).word == word


def test_what_theory_predicts_is_not_called_published(tmp_path):
    claim = Claim.matches("batch", predicted=0.97, within=0.01)
    verdict = judged(tmp_path, {"norm": NORMS, "seed": range(SEEDS)}, claim, lambda row: 0.97)
    assert verdict.statement == "batch matches the test accuracy that theory predicts, 97.0 %, within 1.0 points"
    for figures in ({}, {"published": 0.9, "predicted": 0.9}):
        with pytest.raises(SuiteError, match="either as published or as predicted"):
            Claim.matches("batch", within=0.01, **figures)


@pytest.mark.parametrize(
    ("claim", "pairs"),
    [
        (Claim.better("batch", than="none", max_grad_norm=None), ["max grad norm not set"]),
        (Claim.better("batch", than="none", max_grad_norm=[None, 1.0]), ["max grad norm not set", "max grad norm 1"]),
        (
            Claim.equivalent("batch", to="batch", within=0.1, against={"max_grad_norm": None}, max_grad_norm=1.0),
            ["max grad norm 1"],
        ),
    ],
)
def test_a_claim_covers_points_at_which_an_axis_is_not_set(tmp_path, claim, pairs):
    axes = {"norm": NORMS, "max_grad_norm": [None, 1.0, 5.0], "seed": range(SEEDS)}
    verdict = judged(tmp_path, axes, claim, lambda row: 0.9)
    assert [(c.point, c.n) for c in verdict.comparisons] == [(point, SEEDS) for point in pairs]


def test_ranges_that_lie_beyond_the_grid_on_both_sides_are_not_compared(tmp_path):
    claim = Claim.wider_lr_range("batch", than="none", at_least_decades=0.5)
    verdict = judged(tmp_path, {"norm": NORMS, "lr": LRS, "seed": range(SEEDS)}, claim, lambda row: 0.5)
    assert (verdict.word, verdict.comparisons[0].bound) == ("undecided", "unknown")
    assert "No learning rate tried brings either arm to the target" in verdict.sentence


@pytest.mark.parametrize(("arm", "than", "word"), [("batch", "none", "supported"), ("none", "batch", "refuted")])
def test_a_range_that_is_nowhere_in_the_grid_is_said_to_count_as_0(tmp_path, arm, than, word):
    claim = Claim.wider_lr_range(arm, than=than, at_least_decades=0.2)
    axes = {"norm": NORMS, "lr": LRS, "seed": range(SEEDS)}
    inside = sorted(LRS)[1:-1]
    verdict = judged(tmp_path, axes, claim, lambda row: 0.95 if row["norm"] == "batch" and row["lr"] in inside else 0.5)
    assert verdict.word == word
    assert "none reaches the target nowhere: its range counts as 0" in verdict.sentence
    assert "batch reaches the target nowhere" not in verdict.sentence
