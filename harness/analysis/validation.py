"""Which claims a suite can answer: what is wrong with one is said in a line, before anything is trained."""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from harness.analysis import formatting, pairing
from harness.analysis.claims import KINDS
from harness.analysis.metrics import CURVE, METRICS, TRIAL_METRICS
from harness.analysis.sweeps import CHOSEN_BY
from harness.errors import SuiteError, lookup, nearest
from harness.spec.claim import Claim, is_number
from harness.spec.manifest import Manifest

MAX_DECADES_APART = 0.53  # of neighbouring learning rates: two a decade, also as 1, 3, 10 (log10(10 / 3) = 0.523)
MIN_ALONG = 3  # values of an axis: fewer have no inside for an optimum, and two make a difference, not a trend
SPLITS = ("train", "batch", "val", "test", "probe")  # of curves
SHARES = ("test_accuracy", "val_accuracy", "train_accuracy")


def validate_claim(claim: Claim, manifest: Manifest) -> None:
    """Raise SuiteError where the suite can't answer the claim."""
    kind = lookup(KINDS, claim.kind, "kind of claim")
    _check_metric(claim, manifest)
    known = pairing.arms(manifest)
    for arm in (claim.arm,) if claim.kind == "matches" else (claim.arm, claim.than):
        if arm not in known:
            raise SuiteError(f"no arm {arm!r} on axis {manifest.compare!r}; {nearest(str(arm), map(str, known))}")
    for axis, wanted in claim.where.items():
        if axis in (manifest.compare, "seed"):
            raise SuiteError(f"a claim covers all values of {axis}; `where` can't choose among them")
        _check_point("`where`", axis, wanted if isinstance(wanted, list | tuple) else [wanted], manifest)
    if (kind.over_lr or claim.metric == "steps_to_target") and manifest.target_accuracy is None:
        raise SuiteError("it is about reaching a target: give the suite a target_accuracy")
    if kind.needs_margin and claim.margin == 0:
        raise SuiteError("no sample shows that two means are equal: give a margin above 0 (within=...)")
    if kind.over_lr:
        _check_lrs(sorted(_wanted(claim, "lr", manifest)))
    if claim.kind in ("trend", "best_tuned"):
        _check_along(claim, manifest)
    if claim.against or claim.kind == "recovers":
        _check_against(claim, manifest)


def _check_metric(claim: Claim, manifest: Manifest) -> None:
    if claim.kind == "costs":
        return
    if claim.metric not in TRIAL_METRICS:
        found = CURVE.fullmatch(claim.metric)
        if found is None or found["at"] is not None or found["split"] not in SPLITS:
            raise SuiteError(
                f"unknown metric {claim.metric!r}; {nearest(claim.metric, TRIAL_METRICS)}, or split.name of a curve"
            )
        if found["split"] == "probe" and not any(pairing.values(manifest, "probes")):
            raise SuiteError(f"{claim.metric!r} is measured by a probe, and the suite has none: give it probes=[...]")
        if not KINDS[claim.kind].takes_curves:
            raise SuiteError(f"neither more nor less of {claim.metric!r} is good: use Claim.more or Claim.less")
    elif claim.at != "last":
        raise SuiteError(f"at={claim.at!r} is about a curve, and {claim.metric!r} is an outcome: name split.name")
    if claim.kind == "best_tuned" and claim.metric not in CHOSEN_BY:
        raise SuiteError(f"what is tuned is judged on test data: {' or '.join(CHOSEN_BY)}, got {claim.metric!r}")
    if claim.kind == "recovers" and (claim.metric not in SHARES or claim.margin > 1):
        raise SuiteError(
            f"it is about a share of an accuracy: at_least in 0..1, and {' or '.join(SHARES)}; "
            f"got {claim.margin!r} of {claim.metric!r}"
        )
    if (
        claim.published is not None
        and METRICS[claim.metric].unit is formatting.POINTS
        and not 0 <= claim.published <= 1
    ):
        raise SuiteError(f"accuracy is a fraction: published must lie in 0..1, got {claim.published!r}")


def _check_point(of: str, axis: str, wanted: Iterable[Any], manifest: Manifest) -> None:
    if axis not in manifest.axes and axis not in manifest.settings:
        axes = pairing.axes(manifest)
        raise SuiteError(f"{of} names no axis: {axis!r}; {nearest(axis, axes) if axes else ''}")
    known = pairing.values(manifest, axis)
    for value in wanted:
        if value not in known:
            raise SuiteError(
                f"no {axis} {value!r} in this suite; choose from: {', '.join(map(formatting.value, known))}"
            )


def _check_along(claim: Claim, manifest: Manifest) -> None:
    axis = claim.along
    if leader := manifest.following.get(axis):
        raise SuiteError(f"{axis} follows {leader} in this suite: name {leader}")
    if axis not in pairing.axes(manifest):
        raise SuiteError(f"it goes along no axis of this suite: {axis!r}; {nearest(axis, pairing.axes(manifest))}")
    values = _wanted(claim, axis, manifest)
    if len(values) < MIN_ALONG:
        raise SuiteError(f"it needs {MIN_ALONG} values of {axis} at least, got {values}")
    numbers = [value for value in values if is_number(value)]
    if len(numbers) < len(values):
        raise SuiteError(f"it goes along an axis of numbers, got {axis}={values}")
    if claim.kind == "trend" and min(numbers) <= 0:
        raise SuiteError(f"a trend is over the logarithm of numbers above 0, got {axis}={values}")


def _wanted(claim: Claim, axis: str, manifest: Manifest) -> list[Any]:
    """The values of an axis that a claim covers."""
    wanted = claim.where.get(axis, pairing.values(manifest, axis))
    return list(wanted) if isinstance(wanted, list | tuple) else [wanted]


def _check_against(claim: Claim, manifest: Manifest) -> None:
    for axis, wanted in claim.against.items():
        if axis == "seed" or isinstance(wanted, list | tuple):
            raise SuiteError(f"`against` is one grid point, with one value for an axis, got {axis}={wanted!r}")
        _check_point("`against`", axis, [wanted], manifest)
    if manifest.compare in claim.against and claim.kind != "recovers":
        raise SuiteError(f"`against` says where the other arm stands, `than` which it is: leave out {manifest.compare}")
    if claim.kind == "recovers" and claim.arm == claim.than:
        raise SuiteError(f"an arm can't recover what it loses itself, got {claim.arm!r} twice")
    elsewhere = [axis for axis in claim.against if axis != manifest.compare]
    if not elsewhere:
        raise SuiteError(f'say where the one big batch stands: against={{"world_size": 1}}, got {claim.against!r}')
    followers = [axis for axis, leader in manifest.following.items() if leader in elsewhere]
    if claim.kind == "recovers" and "batch_size" in (*elsewhere, *followers):
        raise SuiteError("what is lost shows at equal batch_size (of all ranks together): leave it out of `against`")


def _check_lrs(lrs: list[float]) -> None:
    if len(lrs) < 2:
        raise SuiteError(f"it needs learning rates to range over, got lr={lrs}; use log_grid")
    for low, high in pairwise(lrs):
        if math.log10(high / low) > MAX_DECADES_APART:
            raise SuiteError(f"it needs 2 learning rates a decade at least, got none between {low} and {high}")
