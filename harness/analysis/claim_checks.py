"""What a suite needs in order to answer a claim: the checks that kinds of claims share."""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from harness.analysis import formatting, pairing
from harness.analysis.measures.curve_values import with_at
from harness.analysis.measures.derived import CURVE
from harness.analysis.metrics import metrics_of
from harness.errors import SuiteError, nearest
from harness.spec.claim import Claim, as_list, is_number
from harness.spec.manifest import Manifest, is_own, measured_of
from harness.spec.measured import LOGGED, LOSS, SPLITS, crossing_of

MAX_DECADES_APART = 0.53  # of neighbouring learning rates: two a decade, also as 1, 3, 10 (log10(10 / 3) = 0.523)
DOUBTFUL = 0.2  # margin of a fraction from which on it may be in another unit
MIN_ALONG = 3  # values of an axis: fewer have no inside for an optimum, and two make a difference, not a trend
OF_CURVES = ("batch", "probe")  # splits that curves alone have


def check_arms(claim: Claim, manifest: Manifest, *, is_one_sample: bool) -> None:
    """Raise SuiteError for an arm that the suite doesn't have."""
    known = pairing.arms(manifest)
    for arm in (claim.arm,) if is_one_sample else (claim.arm, claim.than):
        if arm not in known:
            raise SuiteError(f"no arm {arm!r} on axis {manifest.compare!r}; {nearest(str(arm), map(str, known))}")


def check_where(claim: Claim, manifest: Manifest) -> None:
    """Raise SuiteError for grid points that the suite doesn't have."""
    for axis in claim.where:
        if axis in (manifest.compare, "seed"):
            raise SuiteError(f"a claim covers all values of {axis}; `where` can't choose among them")
        _check_values("`where`", axis, covered_values(claim, axis, manifest), manifest)


def check_against(claim: Claim, manifest: Manifest) -> None:
    """Raise SuiteError where `against` is not one other grid point of the suite."""
    if manifest.compare in claim.against:
        raise SuiteError(f"`against` says where the other arm stands, `than` which it is: leave out {manifest.compare}")
    if claim.against:
        check_other_point(claim, manifest)


def check_other_point(claim: Claim, manifest: Manifest) -> None:
    """Raise SuiteError unless `against` is one grid point of the suite, with or without an arm."""
    for axis, wanted in claim.against.items():
        if axis == "seed" or isinstance(wanted, list | tuple):
            raise SuiteError(f"`against` is one grid point, with one value for an axis, got {axis}={wanted!r}")
        _check_values("`against`", axis, [wanted], manifest)


def _check_values(option: str, axis: str, wanted: Iterable[Any], manifest: Manifest) -> None:
    if axis not in manifest.axes and axis not in manifest.settings:
        axes = pairing.axes(manifest)
        raise SuiteError(f"{option} names no axis: {axis!r}; {nearest(axis, axes) if axes else ''}")
    known = pairing.values(manifest, axis)
    for value in wanted:
        if value not in known:
            choices = ", ".join(map(formatting.value, known))
            raise SuiteError(f"no {axis} {value!r} in this suite; choose from: {choices}")


def check_outcome(claim: Claim, manifest: Manifest) -> None:
    """Raise SuiteError unless the metric is an outcome of a trial, for which more or less is good."""
    check_metric(claim, manifest)
    if claim.metric not in metrics_of(manifest).outcomes:
        raise SuiteError(f"neither more nor less of {claim.metric!r} is good: use Claim.more or Claim.less")


def check_metric(claim: Claim, manifest: Manifest) -> None:
    """Raise SuiteError unless the suite measures the metric: an outcome of a trial, or a value of a curve."""
    outcomes = metrics_of(manifest).outcomes
    if claim.metric in outcomes:
        if claim.at != "last":
            raise SuiteError(f"at={claim.at!r} is about a curve, and {claim.metric!r} is an outcome: name split.name")
        if claim.metric == "steps_to_target":
            check_target(manifest)
        return
    crossing = crossing_of(claim.at)
    for name in (claim.metric, *([crossing.curve] if crossing else [])):
        _check_curve(name, manifest)
        if crossing and name.startswith("train."):
            raise SuiteError(f"training examples are judged at both ends alone: no {name} on the way, use batch.loss")


def _check_curve(metric: str, manifest: Manifest) -> None:
    """Raise SuiteError unless the suite measures the curve "split.name"."""
    curve = CURVE.fullmatch(metric)
    if is_own(manifest) and curve is not None and curve["split"] == LOGGED and curve["at"] is None:
        return
    if curve is None or curve["at"] is not None or curve["split"] not in (*SPLITS, *OF_CURVES):
        raise SuiteError(
            f"unknown metric {metric!r}; {nearest(metric, metrics_of(manifest).outcomes)}, or split.name of a curve"
        )
    known = [LOSS] if curve["split"] == "batch" else [LOSS, *measured_of(manifest).metrics]
    if curve["split"] != "probe" and curve["name"] not in known:
        raise SuiteError(f"unknown metric {metric!r}; {nearest(curve['name'], known)}")
    if curve["split"] == "probe" and not any(pairing.values(manifest, "probes")):
        raise SuiteError(f"{metric!r} is measured by a probe, and the suite has none: give it probes=[...]")


def check_target(manifest: Manifest) -> None:
    """Raise SuiteError where the suite has no target to reach."""
    if measured_of(manifest).target is None:
        raise SuiteError(
            'it is about reaching a target: give the suite a target_accuracy, or a target such as {"rmse": 50}'
        )


def check_margin(claim: Claim) -> None:
    """Raise SuiteError where the margin of an equality is 0."""
    if claim.margin == 0:
        raise SuiteError("no sample shows that two arms are equal: give a margin above 0 (within=...)")


def check_margin_unit(claim: Claim, manifest: Manifest) -> None:
    """Raise SuiteError where a margin is in another unit, such as 5 for 5 points, which are 0.05."""
    metric = metrics_of(manifest)[with_at(claim.metric, claim.at)]
    for margin in margins_of_metric(claim):
        if metric.unit is formatting.POINTS and margin >= 1:
            raise SuiteError(f"{claim.metric} is a fraction, of which a point is 0.01; got a margin of {margin}")
        if margin >= metric.high - metric.low:
            low, high = (formatting.number(end) for end in (metric.low, metric.high))
            raise SuiteError(f"{claim.metric} lies in {low}..{high}, so no margin can be {margin}")


def margins_of_metric(claim: Claim) -> list[float]:
    """The margins of a claim that are in the unit of its metric."""
    if claim.is_ratio:
        return []
    return [claim.margin if claim.within is None else claim.within]


def margin_doubt(claim: Claim, manifest: Manifest) -> str:
    """What makes a margin doubtful, such as 20 points of a fraction; empty where nothing does."""
    metric = metrics_of(manifest)[with_at(claim.metric, claim.at)]
    for margin in margins_of_metric(claim):
        if metric.unit is formatting.POINTS and margin >= DOUBTFUL:
            return (
                f"its margin of {margin} is {formatting.amount(margin, metric.unit)} of {metric.words}: is that meant?"
            )
    return ""


def check_lrs(claim: Claim, manifest: Manifest) -> None:
    """Raise SuiteError unless the learning rates lie close enough to show where a range ends."""
    lrs = sorted(covered_values(claim, "lr", manifest))
    if len(lrs) < 2:
        raise SuiteError(f"it needs learning rates to range over, got lr={lrs}; use log_grid")
    for low, high in pairwise(lrs):
        if math.log10(high / low) > MAX_DECADES_APART:
            raise SuiteError(f"it needs 2 learning rates a decade at least, got none between {low} and {high}")


def check_along(claim: Claim, manifest: Manifest) -> list[float]:
    """The values of the axis that a claim goes along; SuiteError unless they are numbers, and enough of them."""
    axis = claim.along
    if leader := manifest.following.get(axis):
        raise SuiteError(f"{axis} follows {leader} in this suite: name {leader}")
    if axis not in pairing.axes(manifest):
        raise SuiteError(f"it goes along no axis of this suite: {axis!r}; {nearest(axis, pairing.axes(manifest))}")
    values = covered_values(claim, axis, manifest)
    if len(values) < MIN_ALONG:
        raise SuiteError(f"it needs {MIN_ALONG} values of {axis} at least, got {values}")
    if not all(map(is_number, values)):
        raise SuiteError(f"it goes along an axis of numbers, got {axis}={values}")
    return values


def covered_values(claim: Claim, axis: str, manifest: Manifest) -> list[Any]:
    """The values of an axis that a claim covers."""
    wanted = claim.where.get(axis, pairing.values(manifest, axis))
    return as_list(wanted)
