"""`more`: the arm has more of a metric, whether that is good or not, by more than a margin or a factor."""

import numpy as np

from harness.analysis.claim_checks import check_against, check_metric
from harness.analysis.claim_kind import ClaimKind
from harness.analysis.claim_pairs import compare_with_margin, is_larger_positive
from harness.analysis.claim_words import claim_words
from harness.analysis.comparison import Comparison
from harness.analysis.judging import judge_superiority
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest
from harness.storage.tables import Results


def check_more(claim: Claim, manifest: Manifest) -> None:
    check_metric(claim, manifest)
    check_against(claim, manifest)


def compare_more(claim: Claim, results: Results, _rng: np.random.Generator) -> list[Comparison]:
    """The other arm comes first where less of the metric is better: a positive difference has to mean more."""
    return compare_with_margin(claim, results, is_swapped=not is_larger_positive(claim, results.manifest))


def more_statement(claim: Claim, manifest: Manifest) -> str:
    words = claim_words(claim, manifest)
    by_more = f", {words.margin} as high or more" if claim.is_ratio and claim.margin else words.by_more
    return f"{words.arm} has a higher {words.metric} than {words.than}{by_more}{words.where}"


MORE = ClaimKind(
    check=check_more,
    compare=compare_more,
    judge=judge_superiority,
    statement=more_statement,
)
