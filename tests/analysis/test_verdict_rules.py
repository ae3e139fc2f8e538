"""The rules of verdicts: the worked cases of golden_verdicts.json, trusted libraries, and what results can't turn."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from harness.analysis import stats
from harness.analysis.judging import judge_equivalence, judge_superiority
from harness.analysis.verdicts import verdicts
from harness.spec.claim import Claim
from tests.support.manifests import declared
from tests.support.simulated import simulate

CASES = json.loads(Path(__file__).with_name("golden_verdicts.json").read_text("utf-8"))["cases"]
KIND = {kind: [case for case in CASES if case["kind"] == kind] for kind in {case["kind"] for case in CASES}}
LOOKS = "looks"  # tested in test_looks.py
PAIRED = {"norm": ["batch", "none"], "seed": range(20)}


def cases(kind):
    return pytest.mark.parametrize("case", KIND[kind], ids=lambda case: case["id"])


def judged(folder, claims, differences, *, failed=(), lacking=(), declared_after=0, withdrawn=0):
    """The verdicts where batch is ahead by these differences; `failed` and `lacking` are pairs of norm and seed."""
    axes = {"norm": ["batch", "none"], "seed": range(len(differences))}
    results = simulate(folder, axes, claims=claims, status="ok", evaluations=2)
    trials = results.trials
    accuracy = 0.5 + np.asarray(differences)[trials["seed"]] * (trials["norm"] == "batch")
    pairs = list(zip(trials["norm"], trials["seed"], strict=True))
    status = trials["status"].mask([pair in failed for pair in pairs], "no_better_than_init")
    status = status.mask([pair in lacking for pair in pairs], "crashed")
    manifest = replace(
        results.manifest,
        claims=declared(*(one.claim for one in results.manifest.claims), after=declared_after),
        withdrawn=declared(*[Claim.better("batch", than="none", by=0.1 + i / 100) for i in range(withdrawn)]),
    )
    return verdicts(replace(results, manifest=manifest, trials=trials.assign(test_accuracy=accuracy, status=status)))


def word_of(*args, **options):
    (verdict,) = judged(*args, **options)
    return verdict.word


@cases("better")
def test_a_lead_is_judged_as_in_the_worked_case(tmp_path, case):
    given, expected = case["inputs"], case["expected"]
    test = stats.sign_test(np.array(given["d"]), given["margin"])
    assert (test.wins, test.losses, test.ties) == (expected["w"], expected["l"], expected["ties"])
    numbers = (expected["p_plus"], expected["p_minus"], expected["p"])
    assert (test.p_more, test.p_less, test.p) == pytest.approx(numbers, abs=1e-12)
    word = word_of(tmp_path, [Claim.better("batch", than="none", by=given["margin"])], given["d"])
    assert word in (expected["word_alone"], "descriptive" if len(given["d"]) < 6 else "")


@cases("equivalent")
def test_an_equality_is_judged_as_in_the_worked_case(tmp_path, case):
    given, expected = case["inputs"], case["expected"]
    failed = [np.array(given[name], dtype=bool) for name in ("arm_failed", "than_failed")]
    test = stats.equivalence_test(np.array(given["d"]), *failed, given["margin"], given["tau"])
    counts = (test.below, test.above, test.ours_alone, test.theirs_alone)
    assert counts == tuple(expected[name] for name in ("k_plus", "k_minus", "a10", "a01"))
    for name, number in (
        ("p_accuracy", test.p_accuracy),
        ("p_failures", test.p_failures),
        ("p", test.p_supporting),
        ("p_refuting", test.p_refuting),
    ):
        assert number == pytest.approx(expected[name], abs=1e-12), name
    claim = Claim.equivalent("batch", to="none", within=given["margin"], tau=given["tau"])
    alone = [(norm, seed) for norm, flags in zip(PAIRED["norm"], failed, strict=True) for seed in np.flatnonzero(flags)]
    assert word_of(tmp_path, [claim], given["d"], failed=alone) == expected["word_alone"]


@cases("better_over_points")
def test_a_claim_over_points_holds_at_all_or_fails_at_one(case):
    expected = case["expected"]
    tests = [stats.sign_test(np.array(d), case["inputs"]["margin"]) for d in case["inputs"]["points"]]
    one_sided = (np.array([getattr(test, name) for test in tests]) for name in ("p_more", "p_less"))
    holds, fails = stats.over_points(*one_sided)
    assert (holds, fails) == pytest.approx((expected["p_supporting"], expected["p_refuting"]), abs=1e-12)
    assert stats.two_sided(holds, fails) == pytest.approx(expected["p"], abs=1e-12)


@cases("holm")
def test_claims_are_corrected_together(case):
    adjusted = stats.holm(np.array(case["inputs"]["p"]))
    np.testing.assert_allclose(adjusted, case["expected"]["p_adjusted"], atol=1e-12)
    assert (adjusted < stats.ALPHA).tolist() == case["expected"]["decided"]


def test_every_kind_of_worked_case_has_a_test():
    assert KIND.keys() == {"better", "equivalent", "better_over_points", "holm", LOOKS}


NEEDED = {1: [6, 9, 12, 15], 2: [7, 10, 13, 16], 4: [8, 11, 15, 18], 8: [9, 13, 16, 19], 12: [9, 13, 17, 20]}


@pytest.mark.parametrize("claims", NEEDED)
def test_each_dissenter_costs_seeds_and_so_does_each_claim(claims):
    assert [stats.seeds_needed(claims, dissenters) for dissenters in range(4)] == NEEDED[claims]
    for dissenters, n in enumerate(NEEDED[claims]):
        assert stats.dissenters_borne(n, claims) == dissenters
        assert stats.dissenters_borne(n - 1, claims) == dissenters - 1
        p = scipy.stats.binomtest(n - dissenters, n).pvalue
        assert claims * p < stats.ALPHA <= claims * scipy.stats.binomtest(n - 1 - dissenters, n - 1).pvalue


@pytest.mark.parametrize(("tau", "seeds"), [(0.25, [11, 16, 20]), (0.15, [19, 27, 34]), (0.1, [29, 42, 53])])
def test_the_half_on_failures_takes_the_more_seeds_the_rarer_a_failure_may_be(tau, seeds):
    assert [stats.seeds_for_failures(tau, claims) for claims in (1, 4, 12)] == seeds


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.sampled_from([0.0, 1.0]))
def test_the_sign_test_is_the_binomial_test_of_scipy(values, margin):
    test = stats.sign_test(np.array(values, dtype=float), margin)
    n = int(test.wins + test.losses)
    assert test.p == pytest.approx(scipy.stats.binomtest(int(test.wins), n).pvalue if n else 1.0)
    assert stats.p_floor(n) <= test.p + 1e-15


@pytest.mark.parametrize("n", [1, 5, 6, 9, 20, 37])
def test_the_interval_of_a_median_is_that_of_scipy(n):
    values = np.random.default_rng(n).normal(size=n)
    interval = scipy.stats.quantile_test(values, q=0, p=0.5).confidence_interval(0.95)
    ours = stats.median_interval(values)
    np.testing.assert_equal((ours.low, ours.high), (interval.low, interval.high))
    assert ours.estimate == np.median(values)


@pytest.mark.parametrize(("alone", "n"), [(0, 7), (2, 20), (20, 20)])
def test_the_bound_of_lone_failures_is_that_of_clopper_and_pearson(alone, n):
    bound = scipy.stats.binomtest(alone, n, alternative="less").proportion_ci(0.95, method="exact").high
    assert stats.most_alone(alone, n) == pytest.approx(bound)


@pytest.mark.parametrize(("share", "claims"), [(0.95, 1), (0.84, 4)])
def test_as_many_seeds_as_power_takes_decide_a_claim_in_80_percent_of_suites(share, claims):
    n = stats.seeds_for_power(share, claims)
    agree = np.random.default_rng(0).binomial(n, share, 20_000)
    power = np.mean(claims * stats.two_sided(stats.upper_tail(agree, np.asarray(n)), 1.0) < stats.ALPHA)
    assert 0.79 < power < 0.95


@given(st.floats(-1.5, 1.5), st.integers(-300, -3).map(lambda exponent: 10.0**exponent))
def test_a_margin_is_one_however_small(times, margin):
    """Results that are equal to the bit are within any margin above 0."""
    differences, trained = np.full(20, times * margin), np.zeros(20, bool)
    test = stats.equivalence_test(differences, trained, trained, margin, 0.15)
    if abs(abs(times) - 1) > 0.002:
        assert (test.below == 20, test.above == 20) == (times < 1, times > -1)
        lead = stats.sign_test(differences, margin)
        assert (lead.wins == 20, lead.losses == 20) == (times > 1, times < 1)


def test_a_run_that_fails_is_the_worse_of_its_pair_and_two_are_level(tmp_path):
    ahead = np.full(20, -0.3)  # batch would be behind in every seed
    none_fails = [("none", seed) for seed in range(18)]
    (verdict,) = judged(
        tmp_path, [Claim.better("batch", than="none")], ahead, failed=[*none_fails, ("batch", 19), ("none", 19)]
    )
    (comparison,) = verdict.comparisons
    assert (comparison.wins, comparison.losses, comparison.ties) == (18, 1, 1)
    assert (comparison.arm_alone, comparison.than_alone, verdict.word) == (0, 18, "supported")


def test_a_lead_where_it_trains_is_none_of_an_arm_that_often_fails_alone(tmp_path):
    failed = [("batch", seed) for seed in range(5)]
    (verdict,) = judged(tmp_path, [Claim.better("batch", than="none")], np.full(30, 0.1), failed=failed)
    assert verdict.word == "undecided"
    assert "because batch alone failed to train in 5 of 30 seeds" in verdict.sentence
    assert word_of(tmp_path, [Claim.better("batch", than="none")], np.full(30, 0.1), failed=failed[:4]) == "supported"


CLAIM = Claim.better("batch", than="none")
OTHERS = [Claim.better("batch", than="none", by=0.3 + i / 100) for i in range(8)]  # none of them is decided


@pytest.mark.parametrize(("n", "words"), [(6, ("supported", "undecided")), (9, ("supported", "supported"))])
def test_a_claim_is_corrected_for_all_that_were_declared_with_it(tmp_path, n, words):
    spread = np.where(np.arange(n) % 2, 0.29, 0.5)
    together = judged(tmp_path, [CLAIM, *OTHERS[:7]], spread)[0]
    assert (word_of(tmp_path, [CLAIM], spread), together.word) == words
    assert together.comparisons[0].p_adjusted == pytest.approx(min(1, 8 * 2.0 ** (1 - n)))


def test_withdrawing_a_claim_when_results_are_known_corrects_the_others_for_it_all_the_same(tmp_path):
    assert word_of(tmp_path, [CLAIM], np.full(6, 0.2), withdrawn=1) == "undecided"
    assert word_of(tmp_path, [CLAIM], np.full(7, 0.2), withdrawn=1) == "supported"


def test_a_claim_that_came_after_results_is_exploratory_whatever_they_say(tmp_path):
    for lead in (0.2, -0.2):
        (verdict,) = judged(tmp_path, [CLAIM], np.full(20, lead), declared_after=3)
        assert (verdict.word, verdict.declared_after) == ("exploratory", 3)


@pytest.mark.parametrize(("lacking", "word"), [(1, "supported"), (3, "undecided")])
def test_seeds_without_a_result_hold_a_verdict_back_where_they_could_turn_it(tmp_path, lacking, word):
    gone = [("none", seed) for seed in range(lacking)]
    (verdict,) = judged(tmp_path, [CLAIM], np.full(12, 0.2), lacking=gone)
    assert verdict.word == word
    seeds = "1 seed" if lacking == 1 else f"{lacking} seeds"
    reason = f"Without a result in one arm or both: {seeds}, which could turn the verdict."
    assert (reason in verdict.sentence) == (word == "undecided")
    assert judged(tmp_path, [CLAIM], np.full(12 - lacking, 0.2))[0].word == "supported"


def test_seeds_without_a_result_may_have_failed_where_equality_is_claimed(tmp_path):
    claim = Claim.equivalent("batch", to="none", within=0.05)
    assert word_of(tmp_path, [claim], np.zeros(20)) == "supported"
    (verdict,) = judged(tmp_path, [claim], np.zeros(21), lacking=[("batch", 4)])
    assert (verdict.word, verdict.comparisons[0].n) == ("undecided", 20)


def test_the_half_on_accuracy_alone_supports_nothing_and_that_is_said(tmp_path):
    (verdict,) = judged(tmp_path, [Claim.equivalent("batch", to="none", within=0.05)], np.zeros(10))
    assert verdict.word == "undecided"
    assert "the half on failures is open: without a lone failure it takes 19 seeds" in verdict.sentence


@settings(max_examples=5, deadline=None)
@given(
    st.lists(st.sampled_from([-0.3, -0.01, 0.0, 0.01, 0.3]), min_size=6, max_size=24),
    st.sampled_from([CLAIM, Claim.equivalent("batch", to="none", within=0.1, tau=0.4)]),
    st.integers(0, 3),
)
def test_the_word_on_a_claim_is_that_of_its_smallest_corrected_p(tmp_path_factory, differences, claim, others):
    verdict = judged(tmp_path_factory.mktemp("s"), [claim, *OTHERS[:others]], differences)[0]
    (c,) = verdict.comparisons
    p = [one.comparisons[0].p for one in judged(tmp_path_factory.mktemp("s"), [claim, *OTHERS[:others]], differences)]
    assert c.p_adjusted == pytest.approx(multipletests(p, method="holm")[1][0])
    decided = c.p_adjusted < stats.ALPHA
    assert (verdict.word in ("supported", "refuted")) == decided
    if decided:
        assert (verdict.word == "supported") == (c.p_supporting < c.p_refuting)
    judge = judge_equivalence if c.is_equivalence else judge_superiority
    assert judge(c) == verdict.word
