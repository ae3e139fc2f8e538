"""Each kind of claim: what it compares, what its verdict follows, and what it refuses to conclude."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from harness.claim import Claim
from harness.errors import SuiteError
from harness.reporting import stats
from harness.reporting.claims import check, comparisons_of, verdicts
from tests.reporting.simulated import simulate

SEEDS = 9
NORMS = ["batch", "none"]
SIZES = [4, 16, 32, 128]
LRS = [0.01, 0.03, 0.1, 0.3, 1.0]


def luck(scale=0.004, shape=(2, 4, SEEDS), seed=3):
    return np.random.default_rng(seed).normal(0, scale, shape)


def judged(folder, axes, claim, values, **columns):
    """The verdict on the claim where test accuracy is values(row), other columns likewise, all having trained."""
    results = simulate(folder, axes, claims=[claim])
    trials = results.trials.assign(status="ok")
    for column, of in {"test_accuracy": values, **columns}.items():
        trials[column] = [of(row) for row in trials.to_dict("records")]
    return verdict_on(replace(results, trials=trials))


def verdict_on(results):
    (verdict,) = verdicts(results, np.random.default_rng(0))
    return verdict


# A trend


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
    assert (comparison.n, comparison.unpaired, comparison.unknown) == (SEEDS - 1, 1, 0)


# Times, and ranges of learning rates


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
    assert "a random lr of the grid costs against the best" in verdict.sentence


# The best that tuning finds


def tuned(folder, claim, best, noise=0.003, **more):
    """A verdict where each arm peaks at the lr in `best`, at the accuracy there."""
    draws = luck(noise, (2, 2, len(LRS), SEEDS), 5)

    def at(split):
        def value(row):
            peak, height = best[row["norm"]]
            arm, lr = NORMS.index(row["norm"]), LRS.index(row["lr"])
            return height - 0.1 * abs(lr - LRS.index(peak)) + draws[split, arm, lr, row["seed"]]

        return value

    axes = {"norm": NORMS, "lr": LRS, "seed": range(SEEDS)}
    return judged(folder, axes, claim, at(0), **{"val_accuracy": at(1), **more})


BEST = {"batch": (0.3, 0.95), "none": (0.03, 0.9)}


@pytest.mark.parametrize(("by", "word"), [(0.02, "supported"), (0.09, "refuted"), (0.047, "undecided")])
def test_the_best_tuned_is_compared_with_the_best_tuned(tmp_path, by, word):
    verdict = tuned(tmp_path, Claim.best_tuned("batch", than="none", by=by), BEST)
    assert verdict.word == word
    (comparison,) = verdict.comparisons
    assert comparison.estimate == pytest.approx(0.05, abs=0.006)
    assert comparison.n == SEEDS
    assert "at its own best lr" in verdict.statement


@pytest.mark.parametrize(
    ("best", "bound", "word"),
    [
        ({**BEST, "batch": (1.0, 0.95)}, "at least", "supported"),
        ({**BEST, "none": (0.01, 0.9)}, "at most", "undecided"),
        ({"batch": (1.0, 0.95), "none": (0.01, 0.9)}, "unknown", "undecided"),
    ],
)
def test_an_optimum_at_the_end_of_the_grid_is_a_bound_and_said(tmp_path, best, bound, word):
    verdict = tuned(tmp_path, Claim.best_tuned("batch", than="none"), best)
    assert (verdict.comparisons[0].bound, verdict.word) == (bound, word)
    assert "end of" in verdict.sentence


def test_an_lr_is_never_chosen_by_the_test_accuracy(tmp_path):
    misled = lambda row: float(row["lr"] == 0.1)  # noqa: E731
    (comparison,) = tuned(tmp_path, Claim.best_tuned("batch", than="none"), BEST, val_accuracy=misled).comparisons
    assert comparison.estimate == pytest.approx(0.05, abs=0.006)
    assert comparison.arm_mean == pytest.approx(0.85, abs=0.01)


def test_unequal_grids_are_no_equal_budgets(tmp_path):
    claim = Claim.best_tuned("batch", than="none")
    results = simulate(tmp_path, {"norm": NORMS, "lr": LRS, "seed": range(SEEDS)}, claims=[claim])
    kept = results.trials[(results.trials["norm"] == "batch") | (results.trials["lr"] < 1.0)]
    (comparison,) = verdict_on(replace(results, trials=kept)).comparisons
    assert comparison.bound == "unknown"


# What synchronised statistics recover

SYNC = {"norm": ["batch", "sync_batch"], "world_size": [1, 2, 4], "seed": range(SEEDS)}
RECOVERS = Claim.recovers(
    "sync_batch", lost_by="batch", against={"norm": "batch", "world_size": 1}, at_least=0.8, world_size=[2, 4]
)


def recovering(share, lost, noise=0.001):
    draws = luck(noise, (2, 3, SEEDS))

    def value(row):
        ranks = [1, 2, 4].index(row["world_size"])
        loss = lost * (ranks > 0) * (1 - share * (row["norm"] == "sync_batch"))
        return 0.95 - loss + draws[SYNC["norm"].index(row["norm"]), ranks, row["seed"]]

    return value


@pytest.mark.parametrize(
    ("share", "lost", "word"),
    [(1.0, 0.05, "supported"), (0.3, 0.05, "refuted"), (0.8, 0.05, "undecided"), (1.0, 0.0, "undecided")],
)
def test_the_share_recovered_decides_where_there_is_a_loss(tmp_path, share, lost, word):
    verdict = judged(tmp_path, SYNC, RECOVERS, recovering(share, lost))
    assert verdict.word == word
    assert ("no loss to recover" in verdict.sentence) == (lost == 0)


def test_the_three_columns_are_paired_by_seed_across_world_sizes(tmp_path):
    values = recovering(0.9, 0.05, noise=0.004)
    verdict = judged(tmp_path, SYNC, RECOVERS, values)
    shares = [c for c in verdict.comparisons if c.verdict]
    assert [c.point for c in shares] == ["world size 2", "world size 4"]
    rows = [{"seed": seed, "world_size": 4} for seed in range(SEEDS)]
    local, sync, big = (
        np.array([values({**row, **at}) for row in rows])
        for at in ({"norm": "batch"}, {"norm": "sync_batch"}, {"norm": "batch", "world_size": 1})
    )
    wide = stats.expanded_percentiles(SEEDS)
    expected = stats.recovered_fraction(local, sync, big, np.random.default_rng(0), wide)
    assert shares[1].estimate == pytest.approx(expected.estimate)
    assert (shares[1].low, shares[1].high) == pytest.approx((expected.low, expected.high), abs=0.01)
    beside = [c for c in verdict.comparisons if not c.verdict]
    lost, joint = beside[1], beside[3]
    assert (lost.arm, lost.than, lost.estimate) == (
        "batch at world size 1",
        "batch",
        pytest.approx((big - local).mean()),
    )
    assert joint.than == "batch at world size 1"
    assert joint.equivalence_p == pytest.approx(stats.equivalence_p(sync - big, 0.005))
    assert verdict.statement == (
        "sync_batch recovers more than 80 % of the test accuracy that batch loses against batch at world size 1, "
        "at world size 2 and 4"
    )


def test_local_statistics_that_do_better_are_no_loss(tmp_path):
    verdict = judged(tmp_path, SYNC, RECOVERS, recovering(1.0, -0.05))
    assert verdict.word == "undecided"
    assert "no loss to recover" in verdict.sentence


def test_arms_at_different_grid_points_are_paired_by_seed(tmp_path):
    claim = Claim.equivalent("sync_batch", to="batch", within=0.005, against={"world_size": 1}, world_size=[2, 4])
    verdict = judged(tmp_path, SYNC, claim, recovering(1.0, 0.05))
    assert verdict.word == "supported"
    assert {(c.n, c.than) for c in verdict.comparisons} == {(SEEDS, "batch at world size 1")}
    assert judged(tmp_path, SYNC, claim, recovering(0.5, 0.05)).word == "refuted"


# A published figure


@pytest.mark.parametrize(("accuracy", "word"), [(0.972, "supported"), (0.9, "refuted"), (0.9616, "undecided")])
def test_a_mean_matches_a_published_figure_or_does_not(tmp_path, accuracy, word):
    claim = Claim.matches("batch", published=0.97, within=0.01)
    noise = luck(0.004, (SEEDS,))
    verdict = judged(tmp_path, {"norm": NORMS, "seed": range(SEEDS)}, claim, lambda row: accuracy + noise[row["seed"]])
    assert verdict.word == word
    (comparison,) = verdict.comparisons
    ends = scipy_stats.ttest_1samp(accuracy + noise - 0.97, 0).confidence_interval(0.95)
    assert (comparison.low, comparison.high) == pytest.approx((ends.low, ends.high))
    assert (comparison.n, comparison.unpaired, comparison.than_trials) == (SEEDS, 0, 0)
    assert verdict.statement == "batch has a test accuracy of 97.0 points, as published, but for 1.0 points"
    assert "published 0 of" not in verdict.sentence


def test_arms_that_all_failed_match_nothing(tmp_path):
    claim = Claim.matches("batch", published=0.1, within=0.01)
    results = simulate(tmp_path, {"norm": NORMS, "seed": range(SEEDS)}, claims=[claim], status="nonfinite")
    assert verdict_on(results).word == "undecided"


# Curves, and metrics of which neither more nor less is good


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
    claim = Claim.matches("none", published=0.1, within=0.02, metric="probe.saturated/8", at=at)
    verdict = probed(tmp_path, claim, saturating, status=lambda row: "no_better_than_init")
    assert verdict.word == word


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
    assert (verdict.word, verdict.comparisons[0].unknown, verdict.comparisons[0].n) == ("undecided", 1, SEEDS - 1)
    assert "Without a score: 1 result" in verdict.sentence


@pytest.mark.parametrize("make", [Claim.more, Claim.less])
def test_more_of_a_loss_is_more_although_less_is_better(tmp_path, make):
    noise = luck(0.01, (2, SEEDS))
    loss = lambda row: 0.3 + 0.2 * (row["norm"] == "batch") + noise[NORMS.index(row["norm"]), row["seed"]]  # noqa: E731
    axes = {"norm": NORMS, "seed": range(SEEDS)}
    verdict = judged(tmp_path, axes, make("batch", than="none", metric="test_loss"), lambda row: 0.9, test_loss=loss)
    assert verdict.word == ("supported" if make == Claim.more else "refuted")


# The generalisation gap


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


# What is refused before anything trains

GRID = {
    "name": "s",
    "compare": "norm",
    "target_accuracy": 0.9,
    "axes": {"norm": NORMS, "lr": LRS, "batch_size": SIZES, "world_size": [1, 2], "seed": list(range(SEEDS))},
    "settings": {"model": "mlp-8", "init": "he"},
    "following": {"steps": "batch_size"},
}


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
        check([claim], GRID)
    assert word in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Claim.more("batch", than="none", metric="val.loss", by=1, by_factor=2), "either by or by_factor"),
        (lambda: Claim.more("batch", than="none", metric="val.loss", by_factor=0.5), "by_factor must be"),
        (lambda: Claim.more("batch", than="none", metric="val.loss", at="end"), "at must be one of"),
        (lambda: Claim.matches("batch", published="97 %", within=0.1), "published must be a number"),
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
    check([claim], GRID)
    assert comparisons_of(claim, GRID) == comparisons
