"""What a verdict says in words: the grid point that it rests on, and what its n counts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from harness.analysis import formatting
from harness.analysis.claim_words import claim_words
from harness.analysis.verdicts import verdicts
from harness.reporting.figures.verdict import estimates
from harness.reporting.tables import comparisons_table
from harness.spec.claim import Claim
from tests.support.manifests import a_manifest
from tests.support.simulated import simulate
from tests.support.verdicts import NORMS, SEEDS, judged, verdict_on

LRS = [0.01, 0.1, 1.0]
SPREAD = np.linspace(-1, 1, SEEDS)


def led(lead, spread=(0.001, 0.001, 0.001)):
    """Accuracy in which batch leads none by so much at each lr, give or take as much over seeds."""
    at = dict(zip(LRS, zip(lead, spread, strict=True), strict=True))

    def value(row):
        mean, width = at[row["lr"]]
        return 0.5 + (mean + width * SPREAD[row["seed"]]) * (row["norm"] == "batch")

    return value


@pytest.mark.parametrize(
    ("claim", "values", "word", "closest"),
    [
        (Claim.equivalent("batch", to="none", within=0.006), led((-0.001, 0.004, 0.001)), "supported", "lr 0.1 "),
        (Claim.equivalent("batch", to="none", within=0.006), led((-0.02, -0.01, 0.03)), "refuted", "lr 0.1 "),
        (Claim.better("batch", than="none"), led((0.05, 0.06, 0.3), (0.001, 0.05, 0.001)), "supported", "lr 0.1 "),
        (Claim.better("batch", than="none"), led((-0.05, -0.06, 0.1), (0.001, 0.06, 0.001)), "refuted", "lr 0.1 "),
        (Claim.better("batch", than="none"), led((0.001, 0.004, -0.001), (0.2, 0.01, 0.2)), "undecided", "lr 0.1 "),
    ],
)
def test_the_closest_call_is_the_point_whose_interval_ends_nearest_to_the_margin(
    tmp_path, claim, values, word, closest
):
    verdict = judged(tmp_path, {"norm": NORMS, "lr": LRS, "seed": range(SEEDS)}, claim, values)
    assert verdict.word == word
    assert f"The closest call: at {closest}" in verdict.sentence


@pytest.mark.parametrize(("seeds", "said"), [(SEEDS, f"n = {SEEDS} seeds"), (3, "a verdict needs 6 seeds")])
def test_against_a_published_figure_seeds_are_counted_and_no_pairs(tmp_path, seeds, said):
    claim = Claim.matches("batch", published=0.9, within=0.01)
    verdict = judged(tmp_path, {"norm": NORMS, "seed": range(seeds)}, claim, lambda row: 0.9 + 0.001 * row["seed"])
    assert said in verdict.sentence
    assert "pair" not in verdict.sentence
    (figure,) = estimates(simulate(tmp_path, {"norm": NORMS, "seed": range(seeds)}), [verdict])
    assert f"n = {seeds} seeds;" in figure.caption


def test_arms_are_written_alike_in_the_claim_and_in_what_is_said_of_it(tmp_path):
    results = simulate(
        tmp_path, {"decay_norms": [True, False], "seed": range(SEEDS)}, claims=[Claim.better(True, than=False)]
    )
    results = replace(results, manifest=replace(results.manifest, compare="decay_norms"))
    verdict = verdict_on(results)
    assert verdict.statement == "true has a higher test accuracy than false"
    assert "with true than with false" in verdict.sentence


@pytest.mark.parametrize(
    ("arm", "compare", "words"),
    [
        ("batch", "norm", "with batch"),
        ("none", "norm", "without norm"),
        ("none at world size 1", "norm", "without norm at world size 1"),
        ("batch at world size 1", "norm", "with batch at world size 1"),
        ("0.1", "lr", "with lr 0.1"),
        ("true", "decay_norms", "with decay norms true"),
        ("not set", "max_grad_norm", "with max grad norm not set"),
    ],
)
def test_an_arm_reads_as_english_after_a_count(arm, compare, words):
    assert formatting.with_arm(arm, compare) == words


def test_a_p_is_called_the_smallest_only_where_no_smaller_one_is_possible(tmp_path):
    axes, claim = {"norm": NORMS, "seed": range(SEEDS)}, Claim.better("batch", than="none")
    one_alike = judged(tmp_path, axes, claim, lambda row: 0.8 + 0.01 * row["seed"] * (row["norm"] == "batch"))
    assert "p = 0.0078." in one_alike.sentence
    leads = [0.02, 0.03, 0.01, 0.04, 0.05, 0.02, 0.03, 0.06, 0.01]
    clear = judged(tmp_path, axes, claim, lambda row: 0.8 + leads[row["seed"]] * (row["norm"] == "batch"))
    assert f"p = 0.0039 (the smallest that {SEEDS} pairs can give)" in clear.sentence
    mixed = judged(tmp_path, axes, claim, lambda row: 0.8 + (leads[row["seed"]] - 0.015) * (row["norm"] == "batch"))
    assert "the smallest" not in mixed.sentence


@pytest.mark.parametrize(
    ("lost", "measured", "words"),
    [
        ([], True, None),
        (
            [0, 3],
            True,
            "Of these scores 2 of 10 with batch were replaced by guessing; as measured it is 80.0 against 60.0",
        ),
        (
            [0, 3],
            False,
            "Of these scores 2 of 10 with batch were replaced by guessing; as measured it is 80.0 against 60.0",
        ),
        (range(10), False, "Of these scores 10 of 10 with batch were replaced by guessing."),
    ],
)
def test_where_guessing_stands_in_for_scores_both_means_are_told(tmp_path, lost, measured, words):
    claim = Claim.better("batch", than="none")
    results = simulate(tmp_path, {"norm": NORMS, "seed": range(10)}, claims=[claim])
    trials = results.trials
    accuracy = np.where(trials["norm"] == "batch", 0.8, 0.6)
    is_lost = (trials["norm"] == "batch") & trials["seed"].isin(list(lost))
    status = trials["status"].mask(is_lost, "no_better_than_init" if measured else "nonfinite")
    test_accuracy = pd.Series(accuracy, index=trials.index).mask(is_lost & (not measured))
    results = replace(results, trials=trials.assign(test_accuracy=test_accuracy, status=status))
    (verdict,) = verdicts(results, np.random.default_rng(0))
    (comparison, *_) = verdict.comparisons
    assert (comparison.arm_replaced, comparison.than_replaced) == (len(lost), 0)
    guess = 1 / trials["classes"].iloc[0]
    assert comparison.arm_mean == pytest.approx((0.8 * (10 - len(lost)) + guess * len(lost)) / 10)
    if words is None:
        assert "replaced" not in verdict.sentence
        assert np.isnan(comparison.arm_measured)
    else:
        assert words in verdict.sentence
    (table,) = [comparisons_table("t", "t", verdict.comparisons[:1])]
    cell = dict(zip(table.columns, table.rows[0], strict=True))["means as measured (scores replaced)"][0]
    assert cell == ("" if words is None else "unknown, 60.0 (10, 0)" if len(lost) == 10 else "80.0, 60.0 (2, 0)")


def test_a_claim_where_the_loss_is_that_of_the_task_says_that_none_is_set():
    words = claim_words(Claim.better("batch", than="none", loss=["", "huber"]), a_manifest())
    assert words.where == ", at loss not set and huber"
