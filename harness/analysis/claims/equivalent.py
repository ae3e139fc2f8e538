"""`equivalent`: the metrics of both arms are equal within a margin."""

import numpy as np

from harness.analysis.claim_checks import check_against, check_margin, check_metric
from harness.analysis.claim_kind import ClaimKind
from harness.analysis.claim_pairs import claim_pairs, with_other_arm_words
from harness.analysis.claim_words import claim_words
from harness.analysis.comparison import Comparison, compare_equivalence
from harness.analysis.judging import judge_equivalence
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest
from harness.storage.tables import Results


def check_equivalent(claim: Claim, manifest: Manifest) -> None:
    check_metric(claim, manifest)
    check_margin(claim)
    check_against(claim, manifest)


def compare_equivalent(claim: Claim, results: Results, _rng: np.random.Generator) -> list[Comparison]:
    return [
        with_other_arm_words(compare_equivalence(pairs, claim.margin, claim.tau), claim, results)
        for pairs in claim_pairs(claim, results)
    ]


def equivalent_statement(claim: Claim, manifest: Manifest) -> str:
    words = claim_words(claim, manifest)
    return f"{words.arm} and {words.than} are equivalent within {words.margin} in {words.metric}{words.where}"


EQUIVALENT = ClaimKind(
    check=check_equivalent,
    compare=compare_equivalent,
    judge=judge_equivalence,
    statement=equivalent_statement,
)
