"""What is measured of a trial: its unit, its good direction, and how a trial that failed to train is scored."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from harness.analysis import formatting
from harness.analysis.formatting import DECADES, PLAIN, POINTS, SHARE, STEPS, TIMES, TIMES_LESS, Unit
from harness.spec.manifest import Manifest, measured_of
from harness.spec.measured import ACCURACY, Measured
from harness.spec.metric import FRACTION, MetricSpec
from harness.spec.probes import PROBE_CURVES
from harness.storage.tables import LOSS, guess_column

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
class Measure:
    """Something that can be compared between arms."""

    name: str  # as claims and comparisons.csv have it
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
    low: float = -math.inf  # the least that it can be
    high: float = math.inf

    @property
    def bare_words(self) -> str:
        """Its name without that of the test data, on which all is judged."""
        return self.words.removeprefix("test ")

    @property
    def axis_words(self) -> str:
        """Its name on an axis of its values, with the unit where there is one."""
        return f"{self.words} in {self.unit.name}" if self.unit is not POINTS and self.unit.name else self.words


SPLIT_WORDS = {"test": "test", "val": "validation", "train": "training"}  # split -> its name in a sentence


def unit_of(spec: MetricSpec) -> Unit:
    """How amounts of a metric are printed: fractions as points."""
    return POINTS if spec.unit == FRACTION else Unit(spec.unit)


def _outcome(split: str, name: str, spec: MetricSpec, policy: Policy) -> Measure:
    words = f"{SPLIT_WORDS[split]} {spec.words}"
    better, worse = ("higher", "lower") if spec.higher_is_better else ("lower", "higher")
    return Measure(
        name=f"{split}_{name}",
        words=words,
        template=f"{words} is {{difference}}",
        unit=unit_of(spec),
        better=better,
        worse=worse,
        policy=policy,
        sign=1 if spec.higher_is_better else -1,
        low=spec.low,
        high=spec.high,
    )


def _guess(name: str, of_suite: Measured) -> Policy:
    """What a trial that failed to train counts as: what it would come to by guessing."""
    if name not in of_suite.guessed:
        return CHANCE
    column = guess_column(name)
    if name != ACCURACY:
        return Policy("the best constant guess", lambda trials: trials[column])
    return Policy("the best constant guess", lambda trials: trials[column].fillna(1 / trials["classes"]))


LOSS_SPEC = MetricSpec(words=LOSS, higher_is_better=False)


def _outcomes(of_suite: Measured) -> Iterator[Measure]:
    """What trials come to: columns of trials.csv, and what is computed from them."""
    for split in SPLIT_WORDS:
        yield _outcome(split, LOSS, LOSS_SPEC, INITIAL_LOSS)
        for name, spec in of_suite.metrics.items():
            yield _outcome(split, name, spec, _guess(name, of_suite))
    yield Measure(
        name="steps_to_target",
        words="time to the target",
        template="the target is reached {difference}",
        unit=STEPS,
        better="sooner",
        worse="later",
        policy=BUDGET,
        sign=-1,
        also_missing=True,
    )
    yield _generalisation_gap(of_suite)


def _generalisation_gap(of_suite: Measured) -> Measure:
    """By how much training data are told better than test data, in the metric that the first task is judged by."""
    name = of_suite.judged_by(next(iter(of_suite.tasks)))
    spec = of_suite.metrics[name]
    more, less = ("train", "test") if spec.higher_is_better else ("test", "train")
    columns = (f"{more}_{name}", f"{less}_{name}")
    exceeds = f"{SPLIT_WORDS[more]} {spec.words} exceeds {SPLIT_WORDS[less]} {spec.words}"
    return Measure(
        name="generalisation_gap",
        words="generalisation gap",
        template=f"{exceeds} by an amount that is {{difference}}",
        unit=unit_of(spec),
        better="smaller",
        worse="larger",
        policy=UNSCORED,
        sign=-1,
        compute=lambda trials: trials[columns[0]] - trials[columns[1]],
    )


CURVE = re.compile(r"(?P<split>[a-z]+)\.(?P<name>.+?)(?: \((?P<at>first|mean|range)\))?")
# How the name of a metric reads that several trials make up -> what it is, made from the metric that it is based on.
DERIVED: dict[re.Pattern[str], Callable[..., Measure]] = {
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


class Metrics(dict[str, Measure]):
    """The metrics of a suite by name; those of curves, and those that several trials make up, are made when asked for.

    `outcomes` are those that trials come to, and of which more or less is good.
    """

    def __init__(self, of_suite: Measured) -> None:
        self.of_suite = of_suite
        self.outcomes = {metric.name: metric for metric in _outcomes(of_suite)}
        super().__init__({**self.outcomes, **{metric.name: metric for metric in _of_several_trials(of_suite)}})

    def __missing__(self, name: str) -> Measure:
        for pattern, derive in DERIVED.items():
            if match := pattern.fullmatch(name):
                base, *axis = match.groups()
                return replace(derive(self[base], *axis), name=name)
        return curve_metric(name, self.of_suite)


def metrics_of(manifest: Manifest) -> Metrics:
    """What can be compared between the arms of a suite, by name."""
    return Metrics(measured_of(manifest))


def judged_by(manifest: Manifest, split: str = "test") -> Measure:
    """What the trials of a suite are judged by unless a claim names another: that of the target, where there is one."""
    metrics = metrics_of(manifest)
    of_suite = metrics.of_suite
    name = of_suite.target.metric if of_suite.target else of_suite.judged_by(next(iter(of_suite.tasks)))
    return metrics[f"{split}_{name}"]


def _of_several_trials(of_suite: Measured) -> Iterator[Measure]:
    yield Measure(
        name="step_time",
        words="time of a step",
        template="a step takes {difference}",
        difference=RATIO_OF_TIMES,
        unit=TIMES_LESS,
        better="shorter",
        worse="longer",
        policy=AS_MEASURED,
        sign=1,
    )
    yield Measure(
        name="lr_sensitivity",
        words="LR sensitivity",
        template="the loss added by picking a learning rate at random instead of the best is {difference}",
        unit=PLAIN,
        better="lower",
        worse="higher",
        policy=INITIAL_LOSS,
        sign=-1,
    )
    target = of_suite.target.metric if of_suite.target else of_suite.judged_by(next(iter(of_suite.tasks)))
    yield Measure(
        name="lr_decades",
        words="usable range of lr",
        template="the usable range of lr is {difference}",
        unit=DECADES,
        better="wider",
        worse="narrower",
        policy=_guess(target, of_suite),
        sign=1,
    )


AT_WORDS = {  # which value of a curve -> how its name reads
    "first": "{} at the start",
    "mean": "{} on average over training",
    "range": "range of {} over training",
    None: "{} at the end",
}


def curve_metric(name: str, of_suite: Measured) -> Measure:
    """What "split.name" or "split.name/layer" means: a value of a curve. Neither more nor less of it is good."""
    curve = CURVE.fullmatch(name)
    if curve is None:
        raise KeyError(name)
    quantity, _, layer = curve["name"].partition("/")
    spec = of_suite.metrics.get(quantity)
    described = PROBE_CURVES[quantity].words if quantity in PROBE_CURVES else quantity.replace("_", " ")
    split = "" if curve["split"] == "probe" else f"{curve['split']} "
    in_layer = f" in layer {layer}" if layer else ""
    words = AT_WORDS[curve["at"]].format(f"{split}{spec.words if spec else described}{in_layer}")
    policy = Policy(f"what was measured of it; a value that is missing is {UNKNOWN_WORDS}", lambda trials: trials[name])
    return Measure(
        name=name,
        words=words,
        template=f"{words} is {{difference}}",
        unit=unit_of(spec) if spec else PLAIN,
        better="higher",
        worse="lower",
        policy=policy,
        sign=1,
        is_directed=False,
        low=spec.low if spec else -math.inf,
        high=spec.high if spec else math.inf,
    )


def trial_scores(trials: pd.DataFrame, metric: Measure) -> "pd.Series[float]":
    """The metric of each trial as a number: failures scored by policy, NaN where there is no result or no value."""
    value = _values(trials, metric)
    by_policy = trials["status"].isin(FAILED) | (value.isna() if metric.also_missing else False)
    scored = value.mask(by_policy, metric.policy.value(trials).astype("float64"))
    return scored.where(trials["status"].isin(FINISHED))


def measured_scores(trials: pd.DataFrame, metric: Measure) -> "pd.Series[float]":
    """The metric of each trial as it was measured, failures too; NaN where there is no result or no value."""
    return _values(trials, metric).where(trials["status"].isin(FINISHED))


def _values(trials: pd.DataFrame, metric: Measure) -> "pd.Series[float]":
    return (trials[metric.name] if metric.compute is None else metric.compute(trials)).astype("float64")


def score_words(metric: Measure) -> str:
    """How a failed trial is scored, as a sentence."""
    return f"A trial that failed to train counts as {metric.policy.words}."


def smallest_effect(trials: pd.DataFrame, metric: Measure) -> float:
    """The difference below which arms count as equal, unless a claim sets its own margin.

    Half a point of a fraction, or one test example where the test set is smaller than 200. Of other metrics nobody
    knows what is small: 0.
    """
    if metric.unit is not POINTS:
        return 0.0
    examples = trials["test_examples"].astype("float64").min()
    return 0.005 if np.isnan(examples) else max(0.005, 1 / examples)
