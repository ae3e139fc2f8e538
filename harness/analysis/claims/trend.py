"""`trend`: the lead of the arm grows with each doubling of an axis."""

from dataclasses import replace

import numpy as np
import pandas as pd

from harness.analysis import formatting, pairing, stats
from harness.analysis.claim_checks import check_along, check_outcome
from harness.analysis.claim_kind import ClaimKind
from harness.analysis.claim_words import claim_words
from harness.analysis.comparison import Comparison, compare_pairs
from harness.analysis.judging import judge_superiority
from harness.analysis.metrics import metrics_of
from harness.analysis.sweeps import sweeps
from harness.errors import SuiteError
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest
from harness.storage.tables import Results


def check_trend(claim: Claim, manifest: Manifest) -> None:
    check_outcome(claim, manifest)
    values = check_along(claim, manifest)
    if min(values) <= 0:
        raise SuiteError(f"a trend is over the logarithm of numbers above 0, got {claim.along}={values}")


def compare_trend(claim: Claim, results: Results, _rng: np.random.Generator) -> list[Comparison]:
    return compare_slopes(claim, results.trials, results.manifest)


def compare_slopes(claim: Claim, trials: pd.DataFrame, manifest: Manifest) -> list[Comparison]:
    """Slopes over log2 of the axis, with the p of Page's test that the lead grows along it for reference."""
    metrics = metrics_of(manifest)
    sign, metric = metrics[claim.metric].sign, metrics[f"{claim.metric} per doubling of {claim.along}"]
    comparisons = []
    for sweep in sweeps(pairing.matching(trials, claim.where), manifest, claim, [claim.metric]):
        x, (ours,), (theirs,) = np.log2(sweep.x), sweep.ours, sweep.theirs
        pairs = sweep.with_scores(stats.slopes(x, ours), stats.slopes(x, theirs), metric)
        comparison = compare_pairs(pairs, margin=claim.margin)
        comparisons.append(replace(comparison, reference_p=stats.page_trend(sign * (ours - theirs))))
    return comparisons


def trend_statement(claim: Claim, manifest: Manifest) -> str:
    words = claim_words(claim, manifest)
    each = " for each doubling" if claim.margin else ""
    return (
        f"the lead of {words.arm} over {words.than} in {words.metric} grows with {formatting.axis(claim.along)}"
        f"{words.by_more}{each}{_follower_words(claim, manifest)}{words.where}"
    )


def _follower_words(claim: Claim, manifest: Manifest) -> str:
    """What else changes along the axis by a rule of the suite, such as lr with the batch size."""
    following = manifest.following
    followers = [formatting.axis(name) for name, leader in following.items() if leader == claim.along]
    return f" ({formatting.listing(followers)} follows it)" if followers else ""


TREND = ClaimKind(
    check=check_trend,
    collapsed_axes=lambda claim: (claim.along,),
    compare=compare_trend,
    judge=judge_superiority,
    statement=trend_statement,
    reference_test="Page's trend",
)
