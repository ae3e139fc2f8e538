"""The worked cases of golden_stats.json: what a trusted library gives for the same inputs."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from harness.analysis import stats

CASES = {
    case["id"]: case for case in json.loads(Path(__file__).with_name("golden_stats.json").read_text("utf-8"))["cases"]
}


def case(name):
    golden = CASES[name]
    inputs = {
        key: np.array(value, dtype=float) if isinstance(value, list) and not isinstance(value[0], str) else value
        for key, value in golden["inputs"].items()
    }
    return inputs, golden["expected"], golden["tolerance"]["default"]


def rng():
    return np.random.default_rng(0)


def test_a_paired_difference():
    given, expected, close = case("paired_difference")
    differences = given["bn"] - given["no_bn"]
    interval = stats.mean_interval(differences)
    assert interval.estimate == pytest.approx(expected["mean_diff"], abs=close)
    assert (interval.low, interval.high) == pytest.approx(expected["t_ci95"], abs=close)
    assert stats.sign_flip_p(differences, rng()) == pytest.approx(expected["signflip_p"], abs=close)
    for n, floor in expected["min_p_by_n"].items():
        assert stats.p_floor(int(n)) == pytest.approx(floor, abs=close)


def test_many_comparisons_at_once():
    given, expected, close = case("multiplicity")
    adjusted = stats.holm(given["p_values"])
    np.testing.assert_allclose(adjusted, expected["holm_adjusted"], atol=close)
    assert [bool(p < stats.ALPHA) for p in adjusted] == expected["holm_reject"]
    np.testing.assert_allclose(stats.mean_ranks(given["acc_seed_by_variant"]), expected["mean_ranks"], atol=close)


@pytest.mark.parametrize("arm", ["bn", "no_bn"])
def test_the_time_to_a_target(arm):
    given, expected, close = case("time_to_target")
    reached = given[f"{arm}_reached"] == 1
    steps, share = stats.survival(given[f"{arm}_epochs"], reached)
    np.testing.assert_allclose(steps, expected[arm]["scipy_times"], atol=close)
    np.testing.assert_allclose(share, expected[arm]["scipy_sf"], atol=close)
    missing = np.where(reached, given[f"{arm}_epochs"], np.nan)
    restricted = stats.restricted_times(missing, np.full(len(missing), float(given["budget"])))
    assert restricted.mean() == pytest.approx(expected[arm]["rmst_500"], abs=1e-6)


def test_the_reference_test_of_two_times():
    given, expected, close = case("time_to_target")
    p = stats.log_rank_p(
        given["bn_epochs"], given["bn_reached"] == 1, given["no_bn_epochs"], given["no_bn_reached"] == 1
    )
    assert p == pytest.approx(expected["scipy_logrank"][1], abs=close)


@pytest.mark.parametrize(("arm", "column"), [("bn", 0), ("no_bn", 1)])
def test_the_range_of_learning_rates_and_the_sensitivity_to_them(arm, column):
    given, expected, close = case("lr_range_and_sensitivity")
    usable = stats.usable_range(given["lr"], given[f"acc_{arm}"], given["threshold"])
    assert usable.decades == pytest.approx(expected["width_decades"][column], abs=close)
    sensitivity = stats.lr_sensitivity(given[f"loss_{arm}"], given["loss_at_init"])
    assert sensitivity == pytest.approx(expected["lr_sensitivity_mean"][column], abs=close)


def test_the_recovered_fraction_and_the_cost_of_a_step():
    given, expected, close = case("syncbn_equivalence_and_step_cost")
    sync, joint, local = given["sync"], given["big_batch_bn"], given["small_local_bn"]
    recovered = stats.recovered_fraction(local, sync, joint, rng())
    assert recovered.estimate == pytest.approx(expected["recovered_fraction"], abs=close)
    assert (recovered.low, recovered.high) == pytest.approx(expected["recovered_ci95"], abs=0.002)
    ratio = stats.step_ratio(given["step_ms_bn"], given["step_ms_no_bn"])
    assert ratio.estimate == pytest.approx(expected["step_ratio"], abs=close)
    assert (ratio.low, ratio.high) == pytest.approx(expected["step_ratio_ci95"], abs=close)


def test_the_pairing_is_not_dropped():
    given, _, _ = case("paired_difference")
    wrong = CASES["paired_difference"]["wrong_answers"]
    p = stats.sign_flip_p(given["bn"] - given["no_bn"], rng())
    assert scipy_stats.ttest_ind(given["bn"], given["no_bn"], equal_var=False).pvalue == pytest.approx(
        wrong["unpaired_welch_p"]
    )
    assert min(abs(p - wrong["unpaired_welch_p"]), abs(p - wrong["mannwhitney_p"])) > 0.004
    shuffled = given["no_bn"][[3, 6, 0, 7, 2, 1, 5, 4]]  # no other pairing gives the same answer
    assert stats.sign_flip_p(given["bn"] - shuffled, rng()) != p


@pytest.mark.parametrize("arm", ["bn", "no_bn"])
def test_a_run_that_never_reaches_the_target_is_not_dropped(arm):
    given, _, _ = case("time_to_target")
    wrong = CASES["time_to_target"]["wrong_answers"][f"drop_censored_mean_{arm}"]
    reached = given[f"{arm}_reached"] == 1
    assert given[f"{arm}_epochs"][reached].mean() == pytest.approx(wrong)
    missing = np.where(reached, given[f"{arm}_epochs"], np.nan)
    assert stats.restricted_times(missing, np.full(9, 500.0)).mean() > wrong + 40


def test_page_s_trend_test_finds_a_rise_in_ordered_data_and_none_in_reversed_data():
    rising = np.arange(4) + np.random.default_rng(0).normal(0, 0.5, (7, 4))
    assert stats.page_trend(rising) < 0.001
    assert stats.page_trend(rising[:, ::-1]) > 0.99
    assert np.isnan(stats.page_trend(rising[:, :2]))


def test_every_case_has_a_test():
    text = Path(__file__).read_text("utf-8")
    assert all(f'case("{name}")' in text for name in CASES)


@pytest.mark.parametrize("n", [2, 5, 9])
def test_the_sign_flip_test_is_the_permutation_test_of_scipy(n):
    differences = np.random.default_rng(n).normal(0.3, 1, n)
    oracle = scipy_stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert stats.sign_flip_p(differences, rng()) == pytest.approx(oracle.pvalue, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_holm_is_that_of_statsmodels(n):
    p = np.random.default_rng(n).uniform(0, 0.2, n).round(2)  # with ties
    np.testing.assert_allclose(stats.holm(p), multipletests(p, method="holm")[1], atol=1e-15)
