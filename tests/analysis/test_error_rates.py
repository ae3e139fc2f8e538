"""How often verdicts err in worlds whose truth is known: the rules on thousands of suites, and whole pipelines."""

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis import stats
from harness.analysis.judging import REFUTED, SUPPORTED
from harness.analysis.verdicts import verdicts
from harness.spec.claim import Claim
from tests.support import neutral_worlds
from tests.support.benchmark_modules import benchmark_module
from tests.support.simulated import simulate

error_rates = benchmark_module("error_rates")
KINDS, POWER, SEEDS, TUNED_SUITES, WORLDS = (
    getattr(error_rates, name) for name in ("KINDS", "POWER", "SEEDS", "TUNED_SUITES", "WORLDS")
)
lead_and_equality, rates = error_rates.lead_and_equality, error_rates.rates
ALLOWED = 0.05
GRIDS = ("a grid of two decades", "the grid grows")
QUICK = pytest.param(400, (10, 20), id="quick")
LONG = pytest.param(error_rates.SUITES, SEEDS, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(3600)])


def at_most(rate, suites):
    """The share that chance may bring at this rate, in 999 of 1000 tries."""
    return rate + 3.1 * (rate * (1 - rate) / suites) ** 0.5


@pytest.mark.parametrize(("suites", "seeds"), [QUICK, LONG])
@pytest.mark.parametrize("world", WORLDS)
def test_what_is_open_is_decided_in_5_percent_of_suites_at_most(world, suites, seeds):
    for wrong in lead_and_equality(WORLDS[world], suites, seeds):
        assert max(wrong) <= at_most(ALLOWED, suites), wrong


@pytest.mark.parametrize(("suites", "seeds"), [QUICK, LONG])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_claim_errs_in_5_percent_of_suites_at_most(kind, suites, seeds):
    is_slow = "best_tuned" in kind  # sign-flip tests of 20 seeds take time
    seeds = seeds[:1] if is_slow else seeds
    assert max(rates(KINDS[kind], suites, seeds)) <= at_most(ALLOWED, TUNED_SUITES if is_slow else suites)


@pytest.mark.parametrize("suites", [pytest.param(300, id="quick"), pytest.param(*LONG.values[:1], marks=LONG.marks)])
@pytest.mark.parametrize("world", WORLDS)
def test_a_run_until_decided_errs_in_5_percent_of_suites_at_most(world, suites):
    assert error_rates.errs_until_decided(WORLDS[world], suites) <= at_most(ALLOWED, suites)


def test_a_run_until_decided_takes_the_fewer_seeds_the_larger_the_lead():
    seeds, found = zip(*(error_rates.seeds_until_decided(lead, 200) for lead in error_rates.LEADS), strict=True)
    assert seeds == tuple(sorted(seeds, reverse=True))
    assert seeds[-1] < 14
    assert found[-1] > 0.98


@pytest.mark.parametrize("suites", [pytest.param(300, id="quick"), pytest.param(*LONG.values[:1], marks=LONG.marks)])
@pytest.mark.parametrize("world", [*WORLDS, error_rates.LONELY])
def test_an_equality_that_is_run_until_decided_errs_in_5_percent_of_suites_at_most(world, suites):
    drawn = {**WORLDS, error_rates.LONELY: error_rates.lonely}[world]
    assert max(error_rates.equalities_err_until_decided(drawn, suites)) <= at_most(ALLOWED, suites)


def test_equal_arms_are_found_with_the_fewer_seeds_the_more_failures_are_allowed():
    (strict, found), (loose, _) = (error_rates.seeds_until_equal(1 / 3, 0.0, tau, 60) for tau in error_rates.TAUS)
    assert (strict, found) == (40, 1.0), "at a tau of .15 no earlier look can decide"
    assert loose == 20


def test_a_grid_that_grows_finds_what_one_that_stays_hides():
    stays, grows = (rates(POWER[f"half a decade wider, {grid}"], 200, (20,))[0] for grid in GRIDS)
    assert stays < 0.05
    assert grows > 0.6


def test_a_true_lead_is_found():
    one, two = (rates(POWER[name], 2000, (10, 20)) for name in ("Gauss, one deviation", "Gauss, two deviations"))
    assert one == pytest.approx([0.52, 0.91], abs=0.04)
    assert two == pytest.approx([0.98, 1.0], abs=0.02)


def test_a_t_interval_would_fail_where_one_arm_collapses_now_and_then():
    """Why the word rests on no mean: equal means, and the arm that never collapses is far ahead in 19 of 20 seeds."""
    rng = np.random.default_rng(0)
    differences = np.where(rng.random((400, 10)) < 0.05, -19.0, 1.0) + rng.normal(0, 0.1, (400, 10))
    intervals = [stats.mean_interval(row) for row in differences]
    assert np.mean([low > 0 or high < 0 for _, low, high in intervals]) > 0.5


def test_the_page_has_the_tables_that_the_command_writes():
    text = error_rates.PAGE.read_text("utf-8")
    equal = (f"equal until decided: {name}" for name in (*WORLDS, error_rates.LONELY))
    for name in (*WORLDS, *KINDS, *POWER, *equal):
        assert f"| {name} |" in text, f"{name}: write the page again with python -m benchmarks.error_rates"
    assert "python -m benchmarks.error_rates" in text


def verdict_words(folder, world, suites, seed=2):
    """The verdict in each of so many simulated suites."""
    results = simulate(folder, world.axes, claims=[world.claim], **world.settings)
    rng, words = np.random.default_rng(seed), []
    trials = results.trials.assign(status="ok")
    for _ in range(suites):
        drawn = trials.assign(**world.draw(trials, rng))
        (verdict,) = verdicts(replace(results, trials=drawn), rng)
        words.append(verdict.word)
    return words


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", neutral_worlds.WORLDS)
def test_whole_pipelines_err_no_more_often_than_their_rules(tmp_path, name):
    world = neutral_worlds.WORLDS[name]
    words = verdict_words(tmp_path, world, 300)
    assert sum(word in world.wrong for word in words) / 300 <= at_most(ALLOWED, 300)


def test_a_pipeline_says_of_a_suite_what_its_rule_says(tmp_path):
    rng = np.random.default_rng(1)
    pairs = error_rates.failing(0.2, 0.1)(rng, (8, 20))
    axes = {"norm": ["batch", "none"], "seed": range(20)}
    results = simulate(tmp_path, axes, claims=[Claim.better("batch", than="none")], status="ok", evaluations=2)
    trials, is_batch = results.trials, results.trials["norm"] == "batch"
    for suite, errs in enumerate(error_rates.errs_on_lead(pairs)):
        ours, theirs = pairs.ours_failed[suite], pairs.theirs_failed[suite]
        failed = np.where(is_batch, ours[trials["seed"]], theirs[trials["seed"]])
        scores = 0.5 + 0.01 * pairs.differences[suite][trials["seed"]] * is_batch
        drawn = trials.assign(test_accuracy=scores, status=np.where(failed, "no_better_than_init", "ok"))
        (verdict,) = verdicts(replace(results, trials=drawn))
        assert (verdict.word in (SUPPORTED, REFUTED)) == errs


def covered(intervals, truth):
    return float(np.mean([low <= truth <= high for _, low, high in intervals]))


def test_the_interval_of_a_ratio_of_step_times_covers_the_truth_at_the_nominal_rate():
    draws = np.exp(np.random.default_rng(3).normal(0, 0.05, (2, 2000, 10)))
    intervals = [stats.step_ratio(1.3 * ours, theirs) for ours, theirs in zip(*draws, strict=True)]
    assert covered(intervals, 1.3) == pytest.approx(0.95, abs=0.016)


def test_the_wilson_interval_covers_the_truth_at_the_nominal_rate():
    failed = np.random.default_rng(3).binomial(10, 0.3, 2000)
    assert covered([stats.wilson(int(k), 10) for k in failed], 0.3) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("n", [6, 10])
def test_the_interval_of_the_share_recovered_covers_the_truth_at_the_nominal_rate(n):
    rng = np.random.default_rng(3)
    local, sync, big = (level + rng.normal(0, 0.004, (200, n)) for level in (0.90, 0.92, 0.94))
    rows = list(zip(local, sync, big, strict=True))
    intervals = [stats.recovered_fraction(*row, rng, stats.expanded_percentiles(n)) for row in rows]
    assert covered(intervals, 0.5) == pytest.approx(0.95, abs=0.045)
    plain = [stats.recovered_fraction(*row, rng) for row in rows]
    assert covered(plain, 0.5) < 0.92  # why percentiles are expanded
