"""Worlds that leave the claim of every kind open: results in and verdicts out, neither word would be right."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.spec.claim import Claim

SEEDS = 10
NORMS = ["batch", "none"]
LRS = [0.01, 0.03, 0.1]
WIDE = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
SIZES = [4, 8, 16, 32]
RANKS = [1, 2, 4]
Columns = dict[str, Any]
BOTH = ("supported", "refuted")


@dataclass(frozen=True)
class World:
    """A claim that is neither true nor false beyond its margin, and how results come about."""

    claim: Claim
    axes: Mapping[str, Any]
    draw: Callable[[Any, np.random.Generator], Columns]  # rows of the grid -> columns of trials.csv
    wrong: tuple[str, ...] = BOTH  # words that would be wrong
    settings: Mapping[str, Any] = field(default_factory=dict)


def shared(rows, rng, scale=0.01):
    """What a seed brings to all of its trials."""
    return rng.normal(0, scale, SEEDS)[rows["seed"]]


def noisy(rows, rng, scale=0.005):
    return 0.9 + shared(rows, rng) + rng.normal(0, scale, len(rows))


def alike(rows, rng):
    return {"test_accuracy": noisy(rows, rng)}


def few_examples(rows, rng):
    """A test set of 50 examples: most differences are ties."""
    return {"test_accuracy": (noisy(rows, rng, 0.01) * 50).round() / 50}


def collapsing(rows, rng):
    """Three in ten trials of either arm fail to train."""
    failed = rng.random(len(rows)) < 0.3
    return {"test_accuracy": noisy(rows, rng), "status": np.where(failed, "no_better_than_init", "ok")}


def apart_by_the_margin(rows, rng):
    return {"test_accuracy": noisy(rows, rng) + 0.01 * (rows["norm"] == "batch")}


def tuned(rows, rng):
    """Both arms have a broad optimum inside the grid, with errors of validation that test data do not share."""
    height = noisy(rows, rng) - 0.02 * np.abs(np.log10(rows["lr"]) + 1)
    return {"test_accuracy": height, "val_accuracy": height + rng.normal(0, 0.01, len(rows))}


def level_apart(rows, rng):
    """One arm leads by far, by as much at any batch size."""
    return {"test_accuracy": noisy(rows, rng) - 0.2 * (rows["norm"] == "none") - 0.01 * np.log2(rows["batch_size"])}


def ranges(rows, rng):
    """Every arm and seed trains up to a highest lr of its own, and at the lowest lr none does: both edges are seen."""
    highest = 10 ** rng.normal(-0.5, 0.3, (2, SEEDS))[(rows["norm"] == "none").astype(int), rows["seed"]]
    trains = (rows["lr"] < highest.clip(max=2.0)) & (rows["lr"] > 0.005)
    return {"test_accuracy": np.where(trains, 0.95, 0.1), "status": np.where(trains, "ok", "no_better_than_init")}


def times(rows, rng):
    """A fifth of the trials never gets there."""
    steps = rng.exponential(120, len(rows)).round() + 10 * rows["seed"]
    return {"steps_to_target": steps.where(rng.random(len(rows)) > 0.2).clip(upper=400).astype("Int64")}


def half_recovered(rows, rng):
    lost = 0.03 * (rows["world_size"] > 1) * np.where(rows["norm"] == "sync_batch", 0.5, 1.0)
    return {"test_accuracy": noisy(rows, rng, 0.004) - lost}


def perplexities(rows, rng):
    """Lognormal, as exponentials of a loss are; three in ten trials of either arm fail and count as the guess."""
    failed = rng.random(len(rows)) < 0.3
    values = 30 * np.exp(shared(rows, rng, 0.1) + rng.normal(0, 0.3, len(rows)))
    status = np.where(failed, "no_better_than_init", "ok")
    return {"test_perplexity": values, "guess_perplexity": 900.0, "status": status}


def scores_near_one(rows, rng):
    """F1 close to its upper end: noise with a long tail below."""
    return {"test_f1": 1 - rng.beta(1.5, 150, len(rows)) - 0.02}


def errors_of_regression(rows, rng):
    """RMSE with a long tail above, on a grid of eight; one trial in ten of either arm fails and counts as the mean."""
    failed = rng.random(len(rows)) < 0.1
    values = (8 * (50 + rng.exponential(4, len(rows)))).round() / 8
    return {"test_rmse": values, "guess_rmse": 75.0, "status": np.where(failed, "no_better_than_init", "ok")}


def errors_apart(rows, rng):
    """The same, without failures, one arm higher by the margin of two."""
    drawn = errors_of_regression(rows, rng)["test_rmse"] + 2.0 * (rows["norm"] == "batch")
    return {"test_rmse": drawn, "guess_rmse": 75.0}


AT_LRS = {"norm": NORMS, "lr": LRS, "seed": range(SEEDS)}
PLAIN = {"norm": NORMS, "seed": range(SEEDS)}
RECOVERS = Claim.recovers("sync_batch", lost_by="batch", against={"world_size": 1}, at_least=0.5, world_size=[2, 4])
ONE = ("supported",)
SEQUENCE, MULTILABEL, REGRESSION = {"task": "sequence"}, {"task": "multilabel"}, {"task": "regression"}
WORLDS = {
    "better": World(Claim.better("batch", than="none"), AT_LRS, alike),
    "better, ties": World(Claim.better("batch", than="none"), AT_LRS, few_examples),
    "better, collapsing": World(Claim.better("batch", than="none"), AT_LRS, collapsing),
    "more": World(Claim.more("batch", than="none", metric="test_accuracy", by_factor=1), AT_LRS, alike),
    "equivalent": World(Claim.equivalent("batch", to="none", within=0.01, lr=0.1), AT_LRS, apart_by_the_margin, ONE),
    "better by": World(Claim.better("batch", than="none", by=0.01), AT_LRS, apart_by_the_margin),
    "matches": World(
        Claim.matches("batch", published=0.9, within=0.01),
        PLAIN,
        lambda r, rng: {"test_accuracy": noisy(r, rng) + 0.01},
        ONE,
    ),
    "best_tuned": World(Claim.best_tuned("batch", than="none"), {**PLAIN, "lr": WIDE}, tuned),
    "trend": World(Claim.trend("batch", than="none", along="batch_size"), {**PLAIN, "batch_size": SIZES}, level_apart),
    "wider_lr_range": World(Claim.wider_lr_range("batch", than="none"), {**PLAIN, "lr": WIDE}, ranges),
    "sooner": World(Claim.sooner("batch", than="none"), AT_LRS, times),
    "recovers": World(
        RECOVERS, {"norm": ["batch", "sync_batch"], "world_size": RANKS, "seed": range(SEEDS)}, half_recovered
    ),
    "perplexity, better": World(
        Claim.better("batch", than="none", metric="test_perplexity"), AT_LRS, perplexities, settings=SEQUENCE
    ),
    "perplexity, more": World(
        Claim.more("batch", than="none", metric="test_perplexity", by_factor=1), AT_LRS, perplexities, settings=SEQUENCE
    ),
    "F1, better": World(
        Claim.better("batch", than="none", metric="test_f1"), AT_LRS, scores_near_one, settings=MULTILABEL
    ),
    "RMSE, better": World(
        Claim.better("batch", than="none", metric="test_rmse"), AT_LRS, errors_of_regression, settings=REGRESSION
    ),
    "RMSE, better by": World(
        Claim.better("none", than="batch", metric="test_rmse", by=2.0), AT_LRS, errors_apart, settings=REGRESSION
    ),
}
