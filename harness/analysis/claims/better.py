"""`better`: the arm's metric is better by more than a margin."""

from harness.analysis.claim_checks import check_against, check_outcome
from harness.analysis.claim_kind import ClaimKind
from harness.analysis.claim_pairs import compare_with_margin
from harness.analysis.claim_words import claim_words
from harness.analysis.judging import judge_superiority
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest


def check_better(claim: Claim, manifest: Manifest) -> None:
    check_outcome(claim, manifest)
    check_against(claim, manifest)


def better_statement(claim: Claim, manifest: Manifest) -> str:
    words = claim_words(claim, manifest)
    return f"{words.arm} has a {words.better} {words.metric} than {words.than}{words.by_more}{words.where}"


BETTER = ClaimKind(
    check=check_better,
    compare=lambda claim, results, rng: compare_with_margin(claim, results),
    judge=judge_superiority,
    statement=better_statement,
)
