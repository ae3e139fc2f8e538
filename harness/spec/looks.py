"""What suite.json records of looks: with how many seeds verdicts were looked at, and what has got more seeds since."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from harness.errors import DamageError, UsageError
from harness.spec.claim import Claim, as_list
from harness.spec.own_training.own_trial import AnyTrial
from harness.spec.suite import MAX_VALUES, Suite
from harness.spec.trial import Value
from harness.typed import check_members

FIRST_LOOK = 10  # seeds; each look has twice as many as the one before, the last one as many as there may be
DEFAULT_MAX_SEEDS = 40

Where = Mapping[str, Sequence[Value]]  # axis -> the values that are meant


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Verdicts were looked at with so many seeds; `max_seeds` were planned at most, 0 where no looks were planned."""

    seeds: int
    max_seeds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedSeeds:
    """Trials that have as many seeds as if the suite said seed=range(seeds): those that any of `where` matches."""

    seeds: int
    where: Sequence[Where] = field(default_factory=list)


Seeds = TypeVar("Seeds", Look, AddedSeeds)


def read_seeds(cls: type[Seeds], content: Mapping[str, Any], where: str) -> Seeds:
    """A look, or added seeds, from its members in suite.json; DamageError where these are not what was written."""
    check_members(content, cls, where)
    for name in ("seeds", "max_seeds"):
        if not 0 <= content.get(name, 0) <= MAX_VALUES:
            raise DamageError(f"{where} {name} is {content[name]}")
    return cls(**content)


def added_trials(trials: Callable[..., Iterable[AnyTrial]], added: Sequence[AddedSeeds]) -> Iterator[AnyTrial]:
    """The trials with added seeds, those of the suite itself included; `trials` makes those of given `seeds`."""
    for seeds in added:
        for trial in trials(seeds=range(seeds.seeds)):
            if any(_matches(trial, where) for where in seeds.where):
                yield trial


def _matches(trial: AnyTrial, where: Where) -> bool:
    return all(getattr(trial, axis) in values for axis, values in where.items())


def trials_of_claim(claim: Claim, compare: str) -> list[Where]:
    """What matches the trials that a claim compares: of its own arm and of the other, each at its points."""
    there = {**claim.where, **claim.against}
    arms: list[Any] = [claim.arm, claim.than]
    other = [claim.against[compare]] if compare in claim.against else arms
    points: list[dict[str, Any]] = [{**claim.where, compare: arms}, {**there, compare: other}]
    listed: list[Where] = [{axis: as_list(values) for axis, values in point.items()} for point in points]
    return listed[:1] if listed[0] == listed[1] else listed


def seeds_to_start(suite: Suite) -> int:
    """How many seeds a suite has whose seeds can be added to; UsageError where it is none."""
    for grid in suite.grids:
        seeds = grid.get("seed", (0,))
        if list(seeds) != list(range(len(seeds))):
            raise UsageError(
                f"--until-decided needs a suite with seed=range(n), which more can be added to, got {seeds}"
            )
    return max(len(grid.get("seed", (0,))) for grid in suite.grids)


def next_look(seeds: int, max_seeds: int) -> int | None:
    """With how many seeds verdicts are looked at after a look with so many; None where it was the last."""
    following = FIRST_LOOK
    while following <= seeds:
        following *= 2
    return None if seeds >= max_seeds else min(following, max_seeds)


def looks_ahead(seeds: int, max_seeds: int) -> list[int]:
    """With how many seeds verdicts are looked at from the first look on, if claims stay without a word."""
    looks, following = [seeds], next_look(seeds, max_seeds)
    while following is not None:
        looks.append(following)
        following = next_look(following, max_seeds)
    return looks
