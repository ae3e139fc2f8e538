"""`sooner`: the arm reaches the target in fewer steps."""

import math
from dataclasses import replace

import numpy as np

from harness.analysis import pairing, stats
from harness.analysis.claim_checks import check_outcome
from harness.analysis.claim_kind import ClaimKind
from harness.analysis.claim_pairs import claim_pairs, compare_with_margin
from harness.analysis.claim_words import claim_words, target_words
from harness.analysis.comparison import Comparison
from harness.analysis.judging import judge_superiority
from harness.analysis.metrics import FAILED
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest
from harness.storage.tables import Results


def compare_times(claim: Claim, results: Results, _rng: np.random.Generator) -> list[Comparison]:
    """With a log-rank test for reference, which takes a time that was not reached as censored."""
    reached = results.trials["steps_to_target"].notna() & ~results.trials["status"].isin(FAILED)
    pairs_at_points = claim_pairs(claim, results, columns={"reached": reached})
    comparisons = compare_with_margin(claim, results)
    return [
        replace(comparison, reference_p=_log_rank_p(pairs))
        for comparison, pairs in zip(comparisons, pairs_at_points, strict=True)
    ]


def _log_rank_p(pairs: pairing.Pairs) -> float:
    """NaN where no trial of either arm reached the target: there is nothing to rank."""
    ours_reached, theirs_reached = (sample.units["reached"].to_numpy(bool) for sample in (pairs.ours, pairs.theirs))
    if not (ours_reached.any() or theirs_reached.any()):
        return math.nan
    return stats.log_rank_p(pairs.ours.scores, ours_reached, pairs.theirs.scores, theirs_reached)


def sooner_statement(claim: Claim, manifest: Manifest) -> str:
    words = claim_words(claim, manifest)
    target = target_words(manifest, "val")
    every = manifest.settings.get("eval_every")
    looked = f"evaluated every {every} steps" if every else "evaluated 20 times in a training"
    return f"{words.arm} reaches {target} {words.better} than {words.than}{words.by_more}{words.where} ({looked})"


SOONER = ClaimKind(
    check=check_outcome,
    margin_is_of_metric=False,
    compare=compare_times,
    judge=judge_superiority,
    statement=sooner_statement,
    reference_test="log-rank",
)
