"""The best that tuning finds: chosen by validation, compared at equal budgets, a bound at the end of a grid."""

from dataclasses import replace

import pytest

from harness.spec.claim import Claim
from tests.support.simulated import simulate
from tests.support.verdicts import LRS, NORMS, SEEDS, judged, luck, verdict_on


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


def test_of_one_seed_nothing_is_chosen_and_the_sentence_says_no_more(tmp_path):
    claim = Claim.best_tuned("batch", than="none")
    results = simulate(tmp_path, {"norm": NORMS, "lr": LRS, "seed": [3]}, claims=[claim])
    verdict = verdict_on(results)
    assert verdict.word == "descriptive"
    assert verdict.sentence.startswith(
        "With the learning rate chosen on the other seeds, test accuracy is unknown with batch and none;"
    )
    assert "end of" not in verdict.sentence
