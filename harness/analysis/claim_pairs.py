"""The pairs of trials that a claim compares, at each of its grid points."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import formatting, pairing
from harness.analysis.comparison import Comparison, compare_pairs
from harness.analysis.measures.curve_values import with_curve
from harness.analysis.measures.measure import Measure
from harness.analysis.metrics import measured_scores, metrics_of
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest
from harness.storage.tables import Results


def other_arm(claim: Claim, manifest: Manifest) -> tuple[Any, dict[str, Any]]:
    """The arm that a claim compares with at another grid point, and the axes in which that point differs."""
    other_point = dict(claim.against)
    return other_point.pop(manifest.compare, claim.than), other_point


def other_arm_words(claim: Claim, manifest: Manifest) -> str:
    """The other arm in words, with its grid point where it is another: "batch at world size 1"."""
    than, other_point = other_arm(claim, manifest)
    return f"{formatting.value(than)} at {formatting.point(other_point)}" if other_point else formatting.value(than)


def claim_units(
    claim: Claim, results: Results, columns: Mapping[str, "pd.Series[Any]"] | None = None
) -> tuple[pd.DataFrame, Measure]:
    """The trials of both arms, each at its own grid points, with a score; the metric.

    Beside the score stands what was `measured`. `columns` are further ones, with the index of the trials.
    """
    trials, metric = with_curve(results, claim.metric, claim.at)
    than, other_point = other_arm(claim, results.manifest)
    arms = trials[results.manifest.compare]
    at_ours, at_theirs = (
        trials.index.isin(pairing.matching(trials, where).index)
        for where in (claim.where, {**claim.where, **other_point})
    )
    kept = trials[((arms == claim.arm) & at_ours) | ((arms == than) & at_theirs)]
    units = pairing.pairing_columns(pairing.score_units(kept, metric), results.manifest)
    units = units.assign(measured=measured_scores(kept, metric), **dict(columns or {}))
    if claim.is_ratio:
        logs = {name: np.log(units[name].where(units[name] > 0)) for name in ("score", "measured")}
        units, metric = units.assign(**logs), metrics_of(results.manifest)[f"{metric.name} as a ratio"]
    return units, metric


def claim_pairs(
    claim: Claim,
    results: Results,
    *,
    is_swapped: bool = False,
    columns: Mapping[str, "pd.Series[Any]"] | None = None,
) -> list[pairing.Pairs]:
    """The pairs at each grid point of the claim; swapped, they are those of the other arm against this one."""
    units, metric = claim_units(claim, results, columns)
    than, other_point = other_arm(claim, results.manifest)
    points = pairing.pairs_of(
        units,
        results.manifest,
        pairing.axes(results.manifest),
        arm=claim.arm,
        than=than,
        metric=metric,
        against=other_point,
    )
    return [pairs.swapped() for pairs in points] if is_swapped else points


def is_larger_positive(claim: Claim, manifest: Manifest) -> bool:
    """Whether a difference is positive where the arm has more of the metric; else it has less, which is better."""
    return claim.is_ratio or metrics_of(manifest)[claim.metric].sign > 0


def with_other_arm_words(
    comparison: Comparison, claim: Claim, results: Results, *, is_swapped: bool = False
) -> Comparison:
    """The comparison with the other arm named together with its grid point."""
    if not claim.against:
        return comparison
    words = other_arm_words(claim, results.manifest)
    return replace(comparison, arm=words) if is_swapped else replace(comparison, than=words)


def compare_with_margin(claim: Claim, results: Results, *, is_swapped: bool = False) -> list[Comparison]:
    """The comparison at each grid point, tested against the margin of the claim."""
    return [
        with_other_arm_words(compare_pairs(pairs, margin=claim.margin), claim, results, is_swapped=is_swapped)
        for pairs in claim_pairs(claim, results, is_swapped=is_swapped)
    ]
