"""`matches`: in most seeds the arm's metric is a figure, published or predicted, within a margin."""

import math
from dataclasses import replace

import numpy as np

from harness.analysis import formatting, pairing
from harness.analysis.claim_checks import check_margin, check_metric
from harness.analysis.claim_kind import ClaimKind
from harness.analysis.claim_pairs import claim_units
from harness.analysis.claim_words import claim_words, margin_unit
from harness.analysis.comparison import Comparison, compare_equivalence
from harness.analysis.judging import judge_equivalence
from harness.analysis.measures.curve_values import with_at
from harness.analysis.metrics import metrics_of
from harness.errors import SuiteError
from harness.spec.claim import PREDICTED, Claim
from harness.spec.manifest import Manifest
from harness.storage.tables import Results


def check_matches(claim: Claim, manifest: Manifest) -> None:
    check_metric(claim, manifest)
    check_margin(claim)
    metric = metrics_of(manifest)[with_at(claim.metric, claim.at)]
    if not metric.low <= published_figure(claim) <= metric.high:
        kind = " is a fraction" if metric.unit is formatting.POINTS else ""
        where = f"{formatting.number(metric.low)}..{formatting.number(metric.high)}"
        raise SuiteError(f"{claim.metric}{kind}: published must lie in {where}, got {claim.published!r}")


def published_figure(claim: Claim) -> float:
    """The figure; the constructor of the claim has seen to it that there is one."""
    return float(claim.published or 0)


def compare_with_figure(claim: Claim, results: Results, _rng: np.random.Generator) -> list[Comparison]:
    """Seeds against one number: the other sample has no trials."""
    units, metric = claim_units(claim, results)
    figure, comparisons = published_figure(claim), []
    for point, rows in pairing.by_point(units, pairing.axes(results.manifest)):
        if not rows.empty:
            ours = pairing.by_seed(rows)
            theirs = ours.assign(score=figure, measured=figure, failed=0, finished=0, trials=0)
            pairs = pairing.paired(ours, theirs, arm=claim.arm, than=claim.than, metric=metric, point=point)
            comparison = compare_equivalence(replace(pairs, n_unpaired=0), claim.margin, claim.tau)
            comparisons.append(replace(comparison, than_mean=figure, failures_p=math.nan))
    return comparisons


def matches_statement(claim: Claim, manifest: Manifest) -> str:
    words = claim_words(claim, manifest)
    figure = formatting.level(published_figure(claim), margin_unit(claim, manifest))
    source = f"{words.metric} that theory predicts" if claim.than == PREDICTED else f"published {words.metric}"
    return f"{words.arm} matches the {source}, {figure}, within {words.margin}{words.where}"


MATCHES = ClaimKind(
    check=check_matches,
    is_one_sample=True,
    compare=compare_with_figure,
    judge=judge_equivalence,
    statement=matches_statement,
)
