"""What trains together, and in which order."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.spec.optimizer_args import shape_of_args
from harness.spec.own_training.own_trial import AnyTrial, OwnTrial
from harness.spec.trial import Trial, Value

# What may differ between the models of one program: numbers that an update or an initialisation reads, no shapes.
BEGINNING = ("seed", "init", "init_scale")  # of these, what a model before its first step depends on
PER_MODEL = frozenset(
    {
        *BEGINNING,
        "label_noise",
        *("lr", "momentum", "weight_decay", "decay_norms", "max_grad_norm", "optimizer_args"),
    }
)
MAX_COHORT = 64  # models: more hardly gain anything, and keep fewer cores busy

Shape = tuple[Value, ...]  # what a trial shares with all that can train in its cohort


@dataclass(frozen=True, slots=True)
class Cohort:
    """Trials that train together as one program. It is kept: snapshots are of a cohort, and so are bits on a GPU."""

    trials: tuple[AnyTrial, ...]

    @property
    def id(self) -> str:
        """Name this cohort by its trials and their order."""
        return cohort_id(trial.key for trial in self.trials)

    @property
    def models(self) -> tuple[Trial, ...]:
        """Those of its trials that the harness trains itself: all or none."""
        return tuple(trial for trial in self.trials if isinstance(trial, Trial))

    def halves(self) -> tuple["Cohort", "Cohort"]:
        """Cut in two, to find the trial that brings the others down."""
        middle = len(self.trials) // 2
        return Cohort(self.trials[:middle]), Cohort(self.trials[middle:])


def cohort_id(keys: Iterable[str]) -> str:
    """The name of the cohort that holds the trials with these keys, in this order."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]


def make_cohorts(
    trials: Iterable[AnyTrial], previous: Sequence[Sequence[str]] = (), max_size: Mapping[Shape, int] | None = None
) -> list[Cohort]:
    """Cut trials into cohorts: first those of a `previous` plan as they were, then the others among themselves.

    Trials share a cohort where they are equal in all but PER_MODEL, at most `max_size` of each shape. The order of the
    trials is the order of the plan: with the seed outermost, the first cohorts of all arms together are a fair part of
    the grid.
    """
    remaining = {trial.key: trial for trial in trials}
    cohorts = []
    for keys in previous:
        if _is_complete(keys, remaining):
            cohorts.append(Cohort(tuple(remaining.pop(key) for key in keys)))
    by_shape: dict[Shape, list[AnyTrial]] = {}
    for trial in remaining.values():
        by_shape.setdefault(shape(trial), []).append(trial)
    max_sizes = max_size or {}
    parts = [
        (index, part)
        for key, alike in by_shape.items()
        for index, part in enumerate(_even_parts(alike, max_sizes.get(key, MAX_COHORT)))
    ]
    return cohorts + [Cohort(tuple(part)) for _, part in sorted(parts, key=lambda entry: entry[0])]


def longest_first(cohorts: Iterable[Cohort], work: Mapping[Shape, float]) -> list[Cohort]:
    """The cohorts in rounds, one of each shape, so that half a run is fair; in a round those with the most work first.

    `work` is that of one trial of each shape. Short cohorts at the end keep all workers busy until it.
    """
    rounds: dict[Shape, int] = {}
    order = []
    for cohort in cohorts:
        key = shape(cohort.trials[0])
        rounds[key] = rounds.get(key, -1) + 1
        order.append((rounds[key], -work.get(key, 0.0) * len(cohort.trials), cohort))
    return [cohort for *_, cohort in sorted(order, key=lambda entry: entry[:2])]


def shape(trial: AnyTrial) -> Shape:
    """What a trial shares with all that can train in its cohort; one of own training shares nothing, and is alone."""
    if isinstance(trial, OwnTrial):
        return (trial.key,)
    shared = (getattr(trial, axis) for axis in Trial.__slots__ if axis not in PER_MODEL)
    return (*shared, shape_of_args(trial.optimizer_args))


def _is_complete(keys: Sequence[str], remaining: Mapping[str, AnyTrial]) -> bool:
    """Whether a kept cohort can train as it was: each of its trials is to do, once, and they are alike."""
    return len({*keys} & remaining.keys()) == len(keys) and len({shape(remaining[key]) for key in keys}) == 1


def _even_parts(trials: list[AnyTrial], max_size: int) -> list[list[AnyTrial]]:
    count = -(-len(trials) // max_size)
    edges = [len(trials) * i // count for i in range(count + 1)]
    return [trials[low:high] for low, high in pairwise(edges)]
