"""What is measured of a trial: its unit, its good direction, and how a trial that failed to train is scored."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from harness.analysis import formatting
from harness.analysis.formatting import ACCURACY_POINTS, DECADES, PLAIN, SHARE, STEPS, TIMES, TIMES_LESS, Unit
from harness.spec.probes import PROBE_CURVES

FAILED = ("nonfinite", "no_better_than_init")
FINISHED = ("ok", "below_target", *FAILED)  # statuses that are results; trials with any other have none yet
Column = Callable[[pd.DataFrame], "pd.Series[float]"]  # of the table of trials


@dataclass(frozen=True, slots=True)
class Policy:
    """What a trial counts as that has no outcome of its own."""

    words: str
    value: Column


UNKNOWN_WORDS = "unknown, which leaves the claim undecided"
CHANCE = Policy("guessing (1 / classes)", lambda trials: 1 / trials["classes"])
INITIAL_LOSS = Policy("the loss at initialisation", lambda trials: trials["initial_loss"])
AS_MEASURED = Policy("any other: its steps take time too", lambda trials: trials["score"])
BUDGET = Policy("the whole budget of steps", lambda trials: trials["steps"])
# A gap of nothing learnt is 0, the best there is, and the largest gap would speak for the other arm.
UNSCORED = Policy(UNKNOWN_WORDS, lambda trials: trials["initial_loss"] * np.nan)


# How a difference between arms is worded. Means are of each arm; an amount has its unit.
DIFFERENCE = "{bound}{size} {direction} with {arm} than with {than} ({arm_mean} against {than_mean} on average)"
RATIO = "{amount} as high with {arm} as with {than} (geometric means {arm_mean} against {than_mean})"
RATIO_OF_TIMES = "{amount} as long with {arm} as with {than} ({arm_mean} against {than_mean} ms)"
SHARE_OF_LOSS = "{arm} recovers {amount} of what {than} loses"


@dataclass(frozen=True, slots=True)
class Metric:
    """Something that can be compared between arms."""

    words: str
    template: str  # "test accuracy is {difference}"
    unit: Unit
    better: str  # the word for a difference in favour of an arm
    worse: str
    policy: Policy  # of a trial that failed to train
    sign: int  # -1 where less is better
    also_missing: bool = False  # a trial that trained but has no value is scored by the policy too
    is_directed: bool = True  # False: neither more nor less of it is good
    compute: Column | None = None  # from the columns of trials.csv, if it is none of them
    difference: str = DIFFERENCE


def _accuracy(split: str) -> Metric:
    return Metric(
        f"{split} accuracy", f"{split} accuracy is {{difference}}", ACCURACY_POINTS, "higher", "lower", CHANCE, 1
    )


def _loss(split: str) -> Metric:
    return Metric(f"{split} loss", f"{split} loss is {{difference}}", PLAIN, "lower", "higher", INITIAL_LOSS, -1)


TRIAL_METRICS = {  # column of trials.csv -> what it means
    "test_accuracy": _accuracy("test"),
    "val_accuracy": _accuracy("validation"),
    "train_accuracy": _accuracy("training"),
    "test_loss": _loss("test"),
    "val_loss": _loss("validation"),
    "train_loss": _loss("training"),
    "steps_to_target": Metric(
        "time to the target", "the target is reached {difference}", STEPS, "sooner", "later", BUDGET, -1, True
    ),
    "generalisation_gap": Metric(
        words="generalisation gap",
        template="training accuracy exceeds test accuracy by an amount that is {difference}",
        unit=ACCURACY_POINTS,
        better="smaller",
        worse="larger",
        policy=UNSCORED,
        sign=-1,
        compute=lambda trials: trials["train_accuracy"] - trials["test_accuracy"],
    ),
}
CURVE = re.compile(r"(?P<split>[a-z]+)\.(?P<name>[^ ]+)(?: \((?P<at>first|mean|range)\))?")
# How the name of a metric reads that several trials make up -> what it is, made from the metric that it is based on.
DERIVED: dict[re.Pattern[str], Callable[..., Metric]] = {
    re.compile(r"(?P<base>.+) per doubling of (?P<axis>\w+)"): lambda metric, axis: replace(
        metric,
        words=f"slope of {metric.words} per doubling of {formatting.axis(axis)}",
        template=f"per doubling of {formatting.axis(axis)}, {metric.words} changes by an amount that is {{difference}}",
    ),
    re.compile(r"(?P<base>.+) at the best (?P<axis>\w+)"): lambda metric, axis: replace(
        metric,
        words=f"{metric.words} at the best {formatting.axis(axis)}",
        template=f"with the {formatting.full_axis(axis)} chosen on the other seeds, {metric.template}",
    ),
    re.compile(r"(?P<base>.+) recovered"): lambda metric: replace(
        metric,
        words=f"share of the {metric.words} recovered",
        template="{difference}",
        difference=SHARE_OF_LOSS,
        unit=SHARE,
    ),
    re.compile(r"(?P<base>.+) as a ratio"): lambda metric: replace(
        metric, words=f"{metric.words}, as a ratio", difference=RATIO, unit=TIMES, sign=1
    ),
}


class _Metrics(dict[str, Metric]):
    """Metrics by name; those of curves, and those that several trials make up, are made when they are asked for."""

    def __missing__(self, name: str) -> Metric:
        for pattern, derive in DERIVED.items():
            if match := pattern.fullmatch(name):
                base, *axis = match.groups()
                return derive(self[base], *axis)
        return curve_metric(name)


METRICS = _Metrics(
    {
        **TRIAL_METRICS,
        "step_time": Metric(
            words="time of a step",
            template="a step takes {difference}",
            difference=RATIO_OF_TIMES,
            unit=TIMES_LESS,
            better="shorter",
            worse="longer",
            policy=AS_MEASURED,
            sign=1,
        ),
        "lr_sensitivity": Metric(
            words="LR sensitivity",
            template="the loss added by picking a learning rate at random instead of the best is {difference}",
            unit=PLAIN,
            better="lower",
            worse="higher",
            policy=INITIAL_LOSS,
            sign=-1,
        ),
        "lr_decades": Metric(
            "usable range of lr", "the usable range of lr is {difference}", DECADES, "wider", "narrower", CHANCE, 1
        ),
    }
)


AT_WORDS = {  # which value of a curve -> how its name reads
    "first": "{} at the start",
    "mean": "{} on average over training",
    "range": "range of {} over training",
    None: "{} at the end",
}


def curve_metric(name: str) -> Metric:
    """What "split.name" or "split.name/layer" means: a value of a curve. Neither more nor less of it is good."""
    curve = CURVE.fullmatch(name)
    if curve is None:
        raise KeyError(name)
    quantity, _, layer = curve["name"].partition("/")
    described = PROBE_CURVES[quantity].words if quantity in PROBE_CURVES else quantity.replace("_", " ")
    split = "" if curve["split"] == "probe" else f"{curve['split']} "
    in_layer = f" in layer {layer}" if layer else ""
    words = AT_WORDS[curve["at"]].format(f"{split}{described}{in_layer}")
    policy = Policy(f"what was measured of it; a value that is missing is {UNKNOWN_WORDS}", lambda trials: trials[name])
    unit = ACCURACY_POINTS if quantity == "accuracy" else PLAIN
    return Metric(words, f"{words} is {{difference}}", unit, "higher", "lower", policy, 1, is_directed=False)


def trial_scores(trials: pd.DataFrame, metric: str) -> "pd.Series[float]":
    """The metric of each trial as a number: failures scored by policy, NaN where there is no result or no value."""
    definition, value = METRICS[metric], _values(trials, metric)
    by_policy = trials["status"].isin(FAILED) | (value.isna() if definition.also_missing else False)
    scored = value.mask(by_policy, definition.policy.value(trials).astype("float64"))
    return scored.where(trials["status"].isin(FINISHED))


def measured_scores(trials: pd.DataFrame, metric: str) -> "pd.Series[float]":
    """The metric of each trial as it was measured, failures too; NaN where there is no result or no value."""
    return _values(trials, metric).where(trials["status"].isin(FINISHED))


def _values(trials: pd.DataFrame, metric: str) -> "pd.Series[float]":
    compute = METRICS[metric].compute
    return (trials[metric] if compute is None else compute(trials)).astype("float64")


def score_words(metric: str) -> str:
    """How a failed trial is scored, as a sentence."""
    return f"A trial that failed to train counts as {TRIAL_METRICS[metric].policy.words}."


def smallest_effect(trials: pd.DataFrame) -> float:
    """The difference in test accuracy below which arms count as equal, unless a claim sets its own margin.

    Half a point, or one test example where the test set is smaller than 200.
    """
    examples = trials["test_examples"].astype("float64").min()
    return 0.005 if np.isnan(examples) else max(0.005, 1 / examples)
