"""Two results of one suite: changes are told apart from noise, and from other bits."""

import re
from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.diff import corrected, diff
from harness.spec.claim import Claim
from tests.support.manifests import declared
from tests.support.simulated import simulate

SEEDS = 11
NORMS = ["batch", "none"]
AXES = {"norm": NORMS, "lr": [0.01, 0.03, 0.1], "seed": range(SEEDS)}
CLAIMS = [Claim.better("batch", than="none", by=0.02, lr=0.1)]


def results(folder, seed=0, better=0.0, **settings):
    """Results in which batch norm is `better` at lr 0.1; trials train with the luck of `seed`."""
    return with_luck(simulate(folder, AXES, claims=CLAIMS, **settings), seed, better)


def with_luck(made, seed, better=0.0):
    noise = np.random.default_rng(seed).normal(0, 0.003, len(made.trials))
    shared = np.random.default_rng(1).normal(0, 0.01, SEEDS)
    lead = better * ((made.trials["norm"] == "batch") & (made.trials["lr"] == 0.1))
    accuracy = 0.9 + shared[made.trials["seed"]] + noise + lead
    return replace(made, trials=made.trials.assign(status="ok", test_accuracy=accuracy))


def test_equal_results_have_changed_in_nothing(tmp_path):
    changes = diff(results(tmp_path), results(tmp_path))
    assert changes.same_bits == {"batch": (33, 33), "none": (33, 33)}
    assert (changes.matched, changes.only_before, changes.only_after, changes.without_result) == (66, 0, 0, 0)
    assert not any(changes.conditions.values())
    assert [c.point for c in changes.comparisons] == ["norm batch, over all points", "norm none, over all points"]


def test_other_bits_are_no_change_beyond_noise(tmp_path):
    changes = diff(results(tmp_path), results(tmp_path, seed=5))
    assert changes.conditions["bits"] == "66 trials of 66"
    assert changes.conditions["changed"] == ""


def test_a_change_beyond_noise_is_found_where_it_is_and_changes_the_verdict(tmp_path):
    changes = diff(results(tmp_path), results(tmp_path, seed=5, better=0.05))
    points = [c.point for c in changes.beyond_noise]
    assert points == ["norm batch, over all points", "norm batch, lr 0.1"]
    (verdict,) = changes.verdicts
    assert verdict[1:] == ("refuted", "supported")
    assert verdict[0] in changes.conditions["verdicts"]
    (at_point,) = (c for c in changes.beyond_noise if c.point == "norm batch, lr 0.1")
    assert at_point.estimate == pytest.approx(0.05, abs=0.005)
    assert (at_point.n, at_point.family, at_point.arm) == (SEEDS, 8, "after")


def test_a_verdict_that_noise_changes_is_listed_and_is_no_change_beyond_noise(tmp_path):
    before, after = (results(tmp_path, seed, better=0.018) for seed in (0, 3))
    changes = diff(before, after)
    assert len(changes.verdicts) == 1
    assert (changes.beyond_noise, changes.conditions["changed"]) == ([], "")
    assert changes.conditions["verdicts"]


def test_points_at_which_nothing_changed_take_no_part_in_the_correction(tmp_path):
    before = results(tmp_path)
    moved = (before.trials["norm"] == "batch") & (before.trials["lr"] == 0.1)
    after = replace(before, trials=before.trials.assign(test_accuracy=before.trials["test_accuracy"] + 0.05 * moved))
    changes = diff(before, after)
    assert {c.point for c in changes.comparisons if "all points" not in c.point} == {"norm batch, lr 0.1"}
    assert {c.family for c in changes.comparisons} == {3}, "both arms over all points, and the point"
    assert changes.same_bits == {"batch": (22, 33), "none": (33, 33)}


def test_trials_are_matched_by_their_settings_where_only_the_source_of_their_code_differs(tmp_path):
    before, after = results(tmp_path, source="a" * 16), results(tmp_path, source="b" * 16)
    after = replace(after, trials=after.trials.assign(key="f" + after.trials["key"].str[1:]))
    assert diff(before, after).matched == 66
    other = replace(after, trials=after.trials.assign(batch_size=32))
    assert (diff(before, other).matched, diff(before, other).only_after) == (0, 66)


def test_a_curve_that_differs_in_one_value_is_other_bits(tmp_path):
    before = results(tmp_path)
    curves = before.curves.copy()
    curves.loc[5, "value"] = np.nextafter(curves.loc[5, "value"], 2)
    changes = diff(before, replace(before, curves=curves))
    assert changes.conditions["bits"] == "1 trial of 66"
    mixed = before.curves.sample(frac=1, random_state=2)
    assert not diff(before, replace(before, curves=mixed)).conditions["bits"]


def test_trials_that_fail_now_are_scored_and_named_and_their_share_is_tested(tmp_path):
    before = results(tmp_path)
    fails = (before.trials["norm"] == "none") & (before.trials["lr"] == 0.1)
    after = replace(before, trials=before.trials.assign(status=before.trials["status"].mask(fails, "nonfinite")))
    changes = diff(before, after)
    assert changes.statuses[0] == ("norm none, lr 0.1, seed 0", "ok", "nonfinite")
    assert len(changes.statuses) == SEEDS
    (at_point,) = (c for c in changes.beyond_noise if c.point == "norm none, lr 0.1")
    assert at_point.failures_p_adjusted < 0.05
    assert at_point.estimate == pytest.approx(-0.8, abs=0.02)


def test_a_trial_without_a_result_is_excluded_and_counted(tmp_path):
    before = results(tmp_path)
    gone = before.trials["seed"] == 3
    after = replace(before, trials=before.trials.assign(status=before.trials["status"].mask(gone, "crashed")))
    changes = diff(before, after)
    assert changes.without_result == 6
    assert {c.n for c in changes.comparisons} == {SEEDS - 1}


def test_what_trials_were_made_with_is_listed_where_it_differs(tmp_path):
    before = results(tmp_path)
    after = replace(before, telemetry=before.telemetry.assign(torch="2.14.0"))
    assert diff(before, after).made_with == {"torch": ("2.13.0", "2.14.0")}


def test_claims_that_one_suite_alone_makes_are_counted(tmp_path):
    before = results(tmp_path)
    other = replace(before.manifest.claims[0].claim, margin=0.03)
    changes = diff(before, replace(before, manifest=replace(before.manifest, claims=declared(other))))
    assert (changes.claims_apart, changes.verdicts) == (2, [])


def test_what_one_side_alone_has_can_not_be_judged(tmp_path):
    before = results(tmp_path)
    after = replace(before, trials=before.trials[before.trials["seed"] > 0])
    assert diff(before, after).unjudged["bits"] == "6 trials without a result on both sides"
    assert diff(after, before).unjudged["bits"] == "", "what is new has nothing to be held against"
    no_claims = replace(before, manifest=replace(before.manifest, claims=()))
    assert diff(before, no_claims).unjudged["verdicts"]
    assert not diff(no_claims, before).unjudged["verdicts"]


def test_a_target_that_changes_is_told_apart_from_training_that_does(tmp_path):
    claim = Claim.wider_lr_range("batch", than="none", at_least_decades=0.1)
    before = results(tmp_path)
    before = replace(before, manifest=replace(before.manifest, target_accuracy=0.5, claims=declared(claim)))
    trials = before.trials.assign(status=before.trials["status"].replace("ok", "below_target"))
    after = replace(before, manifest=replace(before.manifest, target_accuracy=0.99), trials=trials)
    changes = diff(before, after)
    assert changes.targets is not None
    assert [target.value for target in changes.targets] == [0.5, 0.99]
    assert (changes.claims_retargeted, changes.verdicts, changes.statuses) == (1, [], [])
    assert changes.unjudged["verdicts"]
    assert diff(before, replace(before, trials=trials)).statuses, "with one target, what falls below it has changed"


def test_few_seeds_change_nothing_beyond_noise_and_are_named_as_untested(tmp_path):
    few = [replace(r, trials=r.trials[r.trials["seed"] < 4]) for r in (results(tmp_path), results(tmp_path, 5, 0.3))]
    changes = diff(*few)
    assert changes.beyond_noise == []
    assert re.fullmatch(
        r"\d+ differences of fewer than the \d+ seeds that a test needs", changes.conditions["untested"]
    )
    assert diff(few[0], few[0]).conditions["untested"] == ""
    assert all(np.isnan(c.p_adjusted) for c in changes.comparisons)


def test_noise_is_taken_for_change_in_5_percent_of_pairs_of_results_at_most(tmp_path):
    made = results(tmp_path)
    pairs = [diff(*(with_luck(made, 2 * i + j) for j in (0, 1))) for i in range(20)]
    assert sum(bool(changes.beyond_noise) for changes in pairs) <= 20 * 0.05 + 3


def test_suites_that_are_compared_at_once_are_corrected_together(tmp_path):
    alone = diff(results(tmp_path), results(tmp_path, seed=5, better=0.05))
    together = corrected([alone] * 3)
    assert {c.family for one in together for c in one.comparisons} == {3 * 8}
    p = [[c.p_adjusted for c in one.comparisons] for one in (alone, together[1])]
    assert np.all(np.array(p[1]) >= np.array(p[0]))
    assert any(after > before for before, after in zip(*p, strict=True))
