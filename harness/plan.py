"""What trains together, and in which order."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.trial import Trial, Value

# What may differ between the models of one program: numbers that an update or an initialisation reads, no shapes.
PER_MODEL = frozenset({"seed", "lr", "momentum", "weight_decay", "init", "init_scale"})
MAX_COHORT = 64  # models


@dataclass(frozen=True, slots=True)
class Cohort:
    """Trials that train together as one program. Its cut is part of what its bits depend on, so it is kept."""

    trials: tuple[Trial, ...]

    @property
    def id(self) -> str:
        """Name this cohort by its trials and their order."""
        return cohort_id(trial.key for trial in self.trials)

    def halves(self) -> tuple["Cohort", "Cohort"]:
        """Cut in two, to find the trial that brings the others down."""
        middle = len(self.trials) // 2
        return Cohort(self.trials[:middle]), Cohort(self.trials[middle:])


def cohort_id(keys: Iterable[str]) -> str:
    """The name of the cohort that holds the trials with these keys, in this order."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]


def plan(trials: Iterable[Trial], kept: Sequence[Sequence[str]] = ()) -> list[Cohort]:
    """Cut trials into cohorts: first those of an earlier plan as they were `kept`, then the others among themselves.

    Trials share a cohort where they are equal in all but PER_MODEL. The order of the trials is the order of the plan:
    with the seed outermost, the first cohorts of all arms together are a fair part of the grid.
    """
    todo = {trial.key: trial for trial in trials}
    cohorts = []
    for keys in kept:
        if _stands(keys, todo):
            cohorts.append(Cohort(tuple(todo.pop(key) for key in keys)))
    shapes: dict[tuple[Value, ...], list[Trial]] = {}
    for trial in todo.values():
        shapes.setdefault(shape(trial), []).append(trial)
    parts = [(index, part) for alike in shapes.values() for index, part in enumerate(_even_parts(alike))]
    return cohorts + [Cohort(tuple(part)) for _, part in sorted(parts, key=lambda entry: entry[0])]


def shape(trial: Trial) -> tuple[Value, ...]:
    """What a trial shares with all that can train in its cohort."""
    return tuple(getattr(trial, axis) for axis in Trial.__slots__ if axis not in PER_MODEL)


def _stands(keys: Sequence[str], todo: Mapping[str, Trial]) -> bool:
    """Whether a kept cohort can train as it was: each of its trials is to do, once, and they are alike."""
    return len({*keys} & todo.keys()) == len(keys) and len({shape(todo[key]) for key in keys}) == 1


def _even_parts(trials: list[Trial]) -> list[list[Trial]]:
    count = -(-len(trials) // MAX_COHORT)
    edges = [len(trials) * i // count for i in range(count + 1)]
    return [trials[low:high] for low, high in pairwise(edges)]
