"""The outcomes of trials as measures: metrics on each split, and what is computed from several of them."""

from collections.abc import Iterator

from harness.analysis.formatting import DECADES, PLAIN, STEPS, TIMES_LESS
from harness.analysis.measures.measure import (
    AS_MEASURED,
    BUDGET,
    CHANCE,
    INITIAL_LOSS,
    RATIO_OF_TIMES,
    UNSCORED,
    Measure,
    Policy,
    unit_of,
)
from harness.analysis.measures.own_outcomes import own_outcomes, worst
from harness.spec.measured import ACCURACY, LOSS, Measured, guess_column
from harness.spec.metric import MetricSpec

SPLIT_WORDS = {"test": "test", "val": "validation", "train": "training"}  # split -> its name in a sentence


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


def outcomes_of(of_suite: Measured) -> Iterator[Measure]:
    """What trials come to: columns of trials.csv, and what is computed from them."""
    if of_suite.is_own:
        yield from own_outcomes(of_suite)
        return
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
        lead="{arm} reaches the target before {than}{by}",
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
        lead="{arm} has a smaller generalisation gap than {than}{by}",
        compute=lambda trials: trials[columns[0]] - trials[columns[1]],
    )


def measures_of_several_trials(of_suite: Measured) -> Iterator[Measure]:
    """What several trials make up, or telemetry knows."""
    target = of_suite.target.metric if of_suite.target else of_suite.judged_by(next(iter(of_suite.tasks)))
    yield Measure(
        name="lr_decades",
        words="usable range of lr",
        template="the usable range of lr is {difference}",
        unit=DECADES,
        better="wider",
        worse="narrower",
        policy=worst(of_suite.metrics[target]) if of_suite.is_own else _guess(target, of_suite),
        sign=1,
        lead="{arm} has a wider usable range of lr than {than}{by}",
    )
    if of_suite.is_own:
        return
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
        failed=0,
        lead="a step of {arm} takes at most {margin} as long as one of {than}",
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
        lead="picking a learning rate at random costs less with {arm} than with {than}{by}",
    )
