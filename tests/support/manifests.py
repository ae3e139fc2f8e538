"""Manifests, made by hand and drawn at random."""

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from hypothesis import strategies as st

from harness.spec.claim import AT, Claim
from harness.spec.grids.lr_growth import LrGrowth
from harness.spec.looks import AddedSeeds, Look
from harness.spec.manifest import DeclaredClaim, Manifest
from harness.spec.metric import FRACTION, MetricSpec
from harness.spec.trial import Trial, Value

TEXTS = st.text(max_size=9)
NUMBERS = st.integers(-99, 99) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.none() | st.booleans() | NUMBERS | TEXTS
POINTS = st.dictionaries(TEXTS, VALUES | st.lists(VALUES, max_size=3), max_size=2)


POINTS_OF_LISTS = st.dictionaries(TEXTS, st.lists(VALUES, max_size=2), max_size=2)


def a_manifest(**changes: Any) -> Manifest:
    """A manifest that is right, but for the changes: a suite without axes and claims that has not run."""
    content: dict[str, Any] = {
        "name": "suite",
        "question": "Q?",
        "path": "suites/suite.py",
        "compare": "norm",
        "target_accuracy": None,
        "axes": {},
        "settings": {"norm": "none"},
        "claims": [],
        "trials": 0,
        "harness": "0.2.0",
    }
    return Manifest(**{**content, **changes})


def manifest_of(trials: Sequence[Trial], **changes: Any) -> Manifest:
    """A manifest of these trials, that is right but for the changes."""
    columns = {field.name: [getattr(trial, field.name) for trial in trials] for field in fields(Trial)}
    levels = {name: [*dict.fromkeys(column)] for name, column in columns.items()}
    content = {
        "axes": {name: values for name, values in levels.items() if len(values) > 1},
        "settings": {name: values[0] for name, values in levels.items() if len(values) == 1},
        "trials": len(trials),
        "points": {name: column for name, column in columns.items() if len(levels[name]) > 1},
    }
    return a_manifest(**{**content, **changes})


def declared(*claims: Claim, after: int = 0) -> list[DeclaredClaim]:
    """The claims as a manifest has them."""
    return [DeclaredClaim(claim=claim, declared_after=after) for claim in claims]


def claims() -> st.SearchStrategy[Claim]:
    """Any claim, of no kind that is judged."""
    return st.builds(
        Claim,
        kind=TEXTS,
        arm=VALUES.map(lambda value: [value, "ours"][value is None or value == "theirs"]),
        than=st.just("theirs"),
        margin=st.integers(0, 99) | st.floats(0, 1e9),
        metric=TEXTS,
        where=POINTS,
        at=st.sampled_from(AT),
        along=TEXTS,
        against=POINTS,
        within=st.none() | NUMBERS,
        published=st.none() | NUMBERS,
        is_ratio=st.booleans(),
    )


def metric_specs() -> st.SearchStrategy[MetricSpec]:
    """What may be known of a metric."""
    ends = st.tuples(st.just(-math.inf) | st.floats(-99, 0), st.just(math.inf) | st.floats(1, 99))
    return st.builds(
        lambda words, unit, is_higher_better, ends: MetricSpec(
            words=words, unit=unit, higher_is_better=is_higher_better, low=ends[0], high=ends[1]
        ),
        TEXTS,
        st.sampled_from(["", FRACTION, "kWh"]),
        st.booleans(),
        ends,
    )


def grown_by(added: Sequence[float]) -> LrGrowth:
    """The growth of a grid that has got these learning rates."""
    return LrGrowth(low=0.01, high=1.0, lowest=0.001, highest=10.0, added=list(added))


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Any manifest, before a run or after it."""
    trials = draw(st.integers(0, 3) | st.integers(4, 10**6))
    listed = st.dictionaries(TEXTS, st.lists(VALUES, min_size=trials, max_size=trials), max_size=2)
    points = draw(listed) if trials < 4 else {}
    return draw(_manifests(trials, points))


def _manifests(trials: int, points: dict[str, list[Value]]) -> st.SearchStrategy[Manifest]:
    values = st.dictionaries(TEXTS, VALUES, max_size=3)
    return st.builds(
        Manifest,
        name=TEXTS,
        question=TEXTS,
        path=TEXTS,
        compare=TEXTS,
        target_accuracy=st.none() | NUMBERS,
        target=st.dictionaries(TEXTS, NUMBERS, max_size=1),
        metrics=st.dictionaries(TEXTS, metric_specs(), max_size=2),
        axes=st.dictionaries(TEXTS, st.lists(VALUES, min_size=1, max_size=3), max_size=3),
        following=st.dictionaries(TEXTS, TEXTS, max_size=2),
        settings=values,
        claims=st.lists(st.builds(DeclaredClaim, claim=claims(), declared_after=st.integers(0, 10**6)), max_size=3),
        withdrawn=st.lists(st.builds(DeclaredClaim, claim=claims()), max_size=2),
        trials=st.just(trials),
        points=st.just(points),
        harness=TEXTS,
        cohorts=st.lists(st.lists(TEXTS, max_size=2), max_size=2),
        device=st.none() | st.sampled_from(["cpu", "cuda"]),
        fingerprint=values,
        fingerprints=st.lists(values, max_size=2),
        machine=values,
        growth=st.none() | st.sampled_from([(), (0.001,), (0.001, 10.0)]).map(grown_by),
        max_seeds=st.integers(0, 99),
        looks=st.lists(st.builds(Look, seeds=st.integers(0, 99), max_seeds=st.integers(0, 99)), max_size=2),
        added=st.lists(
            st.builds(AddedSeeds, seeds=st.integers(0, 99), where=st.lists(POINTS_OF_LISTS, max_size=2)), max_size=2
        ),
    )
