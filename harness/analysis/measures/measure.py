"""A measure: something that can be compared between arms, and how a trial that failed to train is scored."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.formatting import POINTS, SHARE, Direction, Unit
from harness.spec.metric import FRACTION, MetricSpec

Column = Callable[[pd.DataFrame], "pd.Series[float]"]  # of the table of trials


@dataclass(frozen=True, slots=True)
class Policy:
    """What a trial counts as that has no outcome of its own."""

    words: str
    value: Column


UNKNOWN_WORDS = "unknown, which leaves the claim undecided"
WORST = "the worst that it can be"  # how the words begin where an end of the metric stands for failures
CHANCE = Policy("guessing (1 / classes)", lambda trials: 1 / trials["classes"])
INITIAL_LOSS = Policy("the loss at initialisation", lambda trials: trials["initial_loss"])
AS_MEASURED = Policy("any other: its steps take time too", lambda trials: trials["score"])
BUDGET = Policy("the whole budget of steps", lambda trials: trials["steps"])
# A gap of nothing learnt is 0, the best there is, and the largest gap would speak for the other arm.
UNSCORED = Policy(UNKNOWN_WORDS, lambda trials: pd.Series(np.nan, index=trials.index))


# How a mean difference between arms is worded. Means are of each arm; an amount has its unit, and its direction.
DIFFERENCE = "{amount} with {arm} than with {than} ({arm_mean} against {than_mean} on average)"
RATIO = "{amount} as high with {arm} as with {than} (geometric means {arm_mean} against {than_mean})"
RATIO_OF_TIMES = "{amount} as long with {arm} as with {than} ({arm_mean} against {than_mean} ms)"
SHARE_OF_LOSS = "{arm} recovers {amount} of what {than} loses"

# What is so in a seed that agrees with a claim; `by` is the margin as words that may be empty.
LEAD = "{arm} leads {than} in {words}{by}"
MORE = "{words} is {better} with {arm} than with {than}{by}"


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
    failed: int = -1  # which way a run that failed moves the difference of its pair; 0: it counts as it was measured
    compute: Column | None = None  # from the columns of trials.csv, if it is none of them
    difference: str = DIFFERENCE
    lead: str = LEAD
    low: float = -math.inf  # the least that it can be
    high: float = math.inf

    @property
    def bare_words(self) -> str:
        """Its name without that of the test data, on which all is judged."""
        return self.words.removeprefix("test ")

    @property
    def direction(self) -> Direction:
        """How a difference in it is told; of a ratio or a share, of which each has a size, without a direction."""
        has_size_alone = self.unit.is_ratio or self.unit is SHARE
        return Direction(self.unit) if has_size_alone else Direction(self.unit, self.better, self.worse)

    @property
    def lead_of(self) -> str:
        """What is so in a seed that agrees with a claim, by its arms and its margin alone."""
        return self.lead.replace("{words}", self.words).replace("{better}", self.better)

    @property
    def axis_words(self) -> str:
        """Its name on an axis of its values, with the unit where there is one; fractions are shown in per cent."""
        unit = "%" if self.unit is POINTS else self.unit.name
        return f"{self.words} in {unit}" if unit else self.words


def unit_of(spec: MetricSpec) -> Unit:
    """How amounts of a metric are printed: fractions as points."""
    return POINTS if spec.unit == FRACTION else Unit(spec.unit)
