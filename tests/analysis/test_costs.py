"""Claims on the cost of a step: ratios of times, judged on their logarithms, with measurements counted once."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from harness import Claim
from harness.analysis.verdicts import verdicts
from harness.errors import SuiteError
from harness.reporting.tables import COMPARISON_COLUMNS, comparisons_table
from tests.support.simulated import simulate

SEEDS = 12


def timed(folder, at_most, times=1.5, noise=0.02, together=1):
    """Results in which a step of batch takes about `times` as long as one of none; `together` seeds share a time."""
    claim = Claim.costs("batch", than="none", at_most=at_most)
    results = simulate(folder, {"norm": ["none", "batch"], "lr": [0.1], "seed": range(SEEDS)}, claims=[claim])
    rng = np.random.default_rng(7)
    drawn = {(norm, seed): rng.normal(0, noise) for norm in ("none", "batch") for seed in range(SEEDS)}
    rows = results.trials.set_index("key").loc[results.telemetry["key"]]
    step_ms = [
        2 * (times if norm == "batch" else 1) * np.exp(drawn[norm, seed // together])
        for norm, seed in zip(rows["norm"], rows["seed"], strict=True)
    ]
    return replace(results, telemetry=results.telemetry.assign(step_ms=step_ms))


def judged(results):
    (verdict,) = verdicts(results, np.random.default_rng(0))
    return verdict


@pytest.mark.parametrize(("at_most", "word"), [(2.0, "supported"), (1.2, "refuted"), (1.5, "undecided")])
def test_the_verdict_follows_the_ratio(tmp_path, at_most, word):
    assert judged(timed(tmp_path, at_most)).word == word


def test_the_interval_is_that_of_a_paired_t_test_on_logarithms(tmp_path):
    results = timed(tmp_path, 2.0)
    (comparison,) = judged(results).comparisons
    times = results.trials.merge(results.telemetry, on="key").pivot_table(
        index="seed", columns="norm", values="step_ms"
    )
    ends = stats.ttest_rel(np.log(times["none"]), np.log(times["batch"])).confidence_interval(0.95)
    assert (comparison.low, comparison.high) == pytest.approx((ends.low, ends.high))
    assert comparison.n == SEEDS


def test_a_table_sorts_ratios_as_it_shows_them(tmp_path):
    compared = [judged(timed(tmp_path, 2.0, times)).comparisons[0] for times in (1.2, 3.0)]
    shown = [
        dict(zip(COMPARISON_COLUMNS, row, strict=True)) for row in comparisons_table("costs", "Costs", compared).rows
    ]
    for column in ("mean", "mean difference or ratio", "95 % interval of the mean"):
        text, key = zip(*(row[column] for row in shown), strict=True)
        assert [float(k) for k in key] == pytest.approx([float(t.split()[0]) for t in text], rel=0.01), column


def test_the_sentence_says_how_many_times_as_long_and_how_long(tmp_path):
    verdict = judged(timed(tmp_path, 2.0, noise=0.0005))
    assert verdict.statement == "a step of batch takes at most 2 times as long as one of none"
    assert "a step takes 1.5 times as long with batch as with none (2.999 against 2 ms)" in verdict.sentence.lower()
    assert "95 % interval 1.498 to 1.501 times" in verdict.sentence


def test_trials_that_trained_together_are_one_measurement(tmp_path):
    verdict = judged(timed(tmp_path, 2.0, together=4))
    assert verdict.comparisons[0].n == SEEDS // 4
    assert verdict.word == "descriptive"


def test_a_trial_that_failed_to_train_costs_what_it_cost(tmp_path):
    results = timed(tmp_path, 2.0)
    before = judged(results).comparisons[0]
    failed = results.trials.assign(status=results.trials["status"].mask(results.trials["seed"] < 3, "nonfinite"))
    after = judged(replace(results, trials=failed)).comparisons[0]
    assert (after.estimate, after.n, after.arm_failed) == (before.estimate, before.n, 3)


@pytest.mark.parametrize("at_most", [0, -1, "twice", None])
def test_a_ratio_that_is_none_is_refused(at_most):
    with pytest.raises(SuiteError, match="at_most"):
        Claim.costs("batch", than="none", at_most=at_most)
