"""What is measured of a trial: its unit, its good direction, and how a trial that failed to train is scored."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.reporting.words import DECADES, PLAIN, POINTS, STEPS, TIMES, Unit

FAILED = ("nonfinite", "no_better_than_init")
FINISHED = ("ok", "below_target", *FAILED)  # statuses that are results; trials with any other have none yet


@dataclass(frozen=True, slots=True)
class Policy:
    """What a trial counts as that has no outcome of its own."""

    words: str
    value: Callable[[pd.DataFrame], "pd.Series[float]"]


CHANCE = Policy("chance, 1 / classes", lambda trials: 1 / trials["classes"])
INITIAL_LOSS = Policy("the loss at initialisation", lambda trials: trials["initial_loss"])
AS_MEASURED = Policy("any other: its steps take time too", lambda trials: trials["score"])
BUDGET = Policy("the whole budget of steps", lambda trials: trials["steps"])


@dataclass(frozen=True, slots=True)
class Metric:
    """Something that can be compared between arms."""

    words: str
    says: str  # "test accuracy is" ... 5.2 points higher
    unit: Unit
    better: str  # the word for a difference in favour of an arm
    worse: str
    policy: Policy  # of a trial that failed to train
    sign: int  # -1 where less is better
    also_missing: bool = False  # a trial that trained but has no value is scored by the policy too


def _accuracy(split: str) -> Metric:
    return Metric(f"{split} accuracy", f"{split} accuracy is", POINTS, "higher", "lower", CHANCE, 1)


def _loss(split: str) -> Metric:
    return Metric(f"{split} loss", f"{split} loss is", PLAIN, "lower", "higher", INITIAL_LOSS, -1)


TRIAL_METRICS = {  # column of trials.csv -> what it means
    "test_accuracy": _accuracy("test"),
    "val_accuracy": _accuracy("validation"),
    "train_accuracy": _accuracy("training"),
    "test_loss": _loss("test"),
    "val_loss": _loss("validation"),
    "train_loss": _loss("training"),
    "steps_to_target": Metric(
        "time to the target", "the target is reached", STEPS, "sooner", "later", BUDGET, -1, True
    ),
}
METRICS = {
    **TRIAL_METRICS,
    "step_time": Metric("time of a step", "a step takes", TIMES, "shorter", "longer", AS_MEASURED, 1),
    "lr_decades": Metric("usable range of lr", "the usable range of lr is", DECADES, "wider", "narrower", CHANCE, 1),
}


def scores(trials: pd.DataFrame, metric: str) -> "pd.Series[float]":
    """The metric of each trial as a number: failures scored by policy, NaN where there is no result or no value."""
    kind = TRIAL_METRICS[metric]
    value = trials[metric].astype("float64")
    by_policy = trials["status"].isin(FAILED) | (value.isna() if kind.also_missing else False)
    scored = value.mask(by_policy, kind.policy.value(trials).astype("float64"))
    return scored.where(trials["status"].isin(FINISHED))


def score_words(metric: str) -> str:
    """How a failed trial is scored, as a sentence."""
    return f"A trial that failed to train counts as {TRIAL_METRICS[metric].policy.words}."


def smallest_effect(trials: pd.DataFrame) -> float:
    """The difference in test accuracy under which arms count as equal, unless a claim says otherwise.

    Half a point, or one test example where the test set is smaller than 200.
    """
    examples = trials["test_examples"].astype("float64").min()
    return 0.005 if np.isnan(examples) else max(0.005, 1 / examples)
