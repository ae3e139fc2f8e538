"""What a suite can answer before anything is trained: which claims, and how many comparisons each and figures take."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from harness.analysis import formatting, pairing
from harness.analysis.claim_checks import check_arms, check_margin_unit, check_where, margin_doubt
from harness.analysis.claim_pairs import other_arm
from harness.analysis.claims import KINDS
from harness.errors import SuiteError, lookup
from harness.spec.claim import Claim, as_list, is_number
from harness.spec.manifest import Manifest

MAX_SIDE_BY_SIDE = 8  # grid points whose names fit below an axis
Points = set[tuple[Any, ...]]  # the values of the axes at each
Side = tuple[Any, Mapping[str, Any], Points]  # an arm, where a claim speaks of it, and its points there


def check_claims(claims: Iterable[Claim], manifest: Manifest) -> None:
    """Raise SuiteError for a claim that the suite can't answer, before anything is trained."""
    for number, claim in enumerate(claims, start=1):
        try:
            validate_claim(claim, manifest)
        except SuiteError as error:
            raise SuiteError(f"claim {number} ({claim.kind}): {error}") from None


def validate_claim(claim: Claim, manifest: Manifest) -> None:
    """Raise SuiteError where the suite, as suite.json holds it, can't answer the claim."""
    kind = lookup(KINDS, claim.kind, "kind of claim")
    check_arms(claim, manifest, is_one_sample=kind.is_one_sample)
    check_where(claim, manifest)
    kind.check(claim, manifest)
    if not comparisons_of(claim, manifest):
        raise SuiteError(_why_nothing_meets(claim, manifest))
    if kind.margin_is_of_metric or claim.within is not None:
        check_margin_unit(claim, manifest)


def doubts(claims: Iterable[Claim], manifest: Manifest) -> Iterator[str]:
    """What looks wrong in claims that can be answered, a sentence each."""
    for number, claim in enumerate(claims, start=1):
        is_of_metric = KINDS[claim.kind].margin_is_of_metric or claim.within is not None
        if is_of_metric and (doubt := margin_doubt(claim, manifest)):
            yield f"claim {number} ({claim.kind}): {doubt}"


def comparisons_of(claim: Claim, manifest: Manifest) -> int:
    """How many comparisons the verdict on a claim rests on: as many as there are grid points that both arms have."""
    kind = KINDS[claim.kind]
    axes, sides = _sides(claim, manifest)
    _, _, ours = sides[0]
    if kind.is_one_sample:
        return len(ours)
    than, _, theirs = sides[1]
    _, other_point = other_arm(claim, manifest)
    points = [
        (point, tuple(other_point.get(axis, value) for axis, value in zip(axes, point, strict=True))) for point in ours
    ]
    for arm in kind.arms_against(claim):
        there = ours if arm == claim.arm else _points_of_arm(arm, claim.where, axes, manifest)
        # An arm is not compared with itself at the same point.
        points = [(p, other) for p, other in points if p in there and other in theirs and (arm, p) != (than, other)]
    return len(points)


def _why_nothing_meets(claim: Claim, manifest: Manifest) -> str:
    """Why there is nothing to compare: an arm has no trials where the claim speaks of it, or other settings."""
    axes, sides = _sides(claim, manifest)
    for arm, where, points in sides:
        if not points:
            return f"no trial of {formatting.value(arm)} is at {formatting.point(where) or 'any grid point'}"
    _, other_point = other_arm(claim, manifest)
    values = [[{point[i] for point in points} for i in range(len(axes))] for _, _, points in sides]
    differing = [
        (axis, theirs)
        for axis, ours, theirs in zip(axes, *values, strict=True)
        if axis not in other_point and not ours & theirs
    ]
    example = ", ".join(f"{axis!r}: {sorted(theirs, key=str)[0]!r}" for axis, theirs in differing)
    names = formatting.listing(formatting.axis(axis) for axis, _ in differing)
    hint = f": they differ in {names}, so say where the other stands with against={{{example}}}" if differing else ""
    arms = " and ".join(dict.fromkeys(formatting.value(arm) for arm, _, _ in sides))
    return f"the trials of {arms} meet at no grid point{hint}"


def _sides(claim: Claim, manifest: Manifest) -> tuple[list[str], list[Side]]:
    """The axes that make up its grid points, and the arms of a claim, its own first, each with its points."""
    kind = KINDS[claim.kind]
    axes = pairing.axes(manifest, *kind.collapsed_axes(claim))
    than, other_point = other_arm(claim, manifest)
    arms = [(claim.arm, claim.where)] + ([] if kind.is_one_sample else [(than, {**claim.where, **other_point})])
    return axes, [(arm, where, _points_of_arm(arm, where, axes, manifest)) for arm, where in arms]


def _points_of_arm(arm: Any, where: Mapping[str, Any], axes: Sequence[str], manifest: Manifest) -> Points:
    """The grid points of `where` at which an arm has trials; all of them where the manifest lists no trials."""
    wanted = {axis: as_list(values) for axis, values in where.items()}
    wanted[manifest.compare] = [arm]
    if not manifest.points:
        return set(product(*(wanted.get(axis, pairing.values(manifest, axis)) for axis in axes)))
    columns = {name: manifest.points[name] for name in {*axes, *wanted} if name in manifest.points}
    kept = (
        i for i in range(manifest.trials) if all(columns[axis][i] in wanted[axis] for axis in wanted if axis in columns)
    )
    return {tuple(columns[axis][i] for axis in axes) for i in kept}


def figure_comparisons(manifest: Manifest) -> int:
    """How many comparisons a figure of effects tests at once: each other arm with the baseline, where both are."""
    axes = pairing.axes(manifest)
    points = {arm: _points_of_arm(arm, {}, axes, manifest) for arm in pairing.arms(manifest)}
    than = points.pop(baseline_arm(manifest))
    along = drawn_along(manifest)
    fixed = [i for i, axis in enumerate(axes) if along and axis != along]  # in one figure
    pairs = [tuple(point[i] for i in fixed) for ours in points.values() for point in ours & than]
    return max(Counter(pairs).values(), default=0)


def baseline_arm(manifest: Manifest) -> Any:
    """The arm that others are compared with: that of the first claim, else none, else the last."""
    arms = pairing.arms(manifest)
    claimed = [declared.claim.than for declared in manifest.claims]
    return next((arm for arm in [*claimed, "none"] if arm in arms), arms[-1])


def over_lr(manifest: Manifest) -> bool:
    """Whether the suite has an axis of learning rates to draw along: not where these are the arms."""
    return "lr" in manifest.axes and manifest.compare != "lr"


def drawn_along(manifest: Manifest) -> str:
    """The axis that figures of effects draw along, one for each grid point but for it: lr where that is an axis.

    Else the longest axis of numbers, where grid points are more than can be named side by side; "" for all in a row.
    """
    if over_lr(manifest):
        return "lr"
    axes = pairing.axes(manifest)
    levels = {axis: pairing.values(manifest, axis) for axis in axes}
    numbers = [axis for axis in axes if len(levels[axis]) > 2 and all(map(is_number, levels[axis]))]
    if len(axes) < 2 or not numbers:
        return ""
    points: Points = set().union(*(_points_of_arm(arm, {}, axes, manifest) for arm in pairing.arms(manifest)))
    if len(points) <= MAX_SIDE_BY_SIDE:
        return ""
    return max(numbers, key=lambda axis: len(levels[axis]))
