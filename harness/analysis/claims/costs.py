"""`costs`: a step of the arm takes at most so many times as long as one of the other."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import formatting, pairing
from harness.analysis.claim_kind import ClaimKind
from harness.analysis.claim_words import claim_words
from harness.analysis.comparison import Comparison, compare_pairs
from harness.analysis.judging import judge_superiority
from harness.analysis.metrics import metrics_of
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest
from harness.storage.tables import Results


def compare_costs(claim: Claim, results: Results, _rng: np.random.Generator) -> list[Comparison]:
    """On a scale of logarithms, on which cheaper is more."""
    pairs = cost_pairs(results, pairing.matching(results.trials, claim.where), claim.arm, claim.than)
    margin = -math.log(claim.margin)
    return [compare_pairs(p, margin=margin) for p in pairs]


def cost_pairs(results: Results, trials: pd.DataFrame, arm: Any, than: Any) -> list[pairing.Pairs]:
    """Two arms' step times, as -log of milliseconds, paired by seed.

    Trials that trained together share their time. They are one measurement and not several: one pair of them is kept.
    """
    metrics = metrics_of(results.manifest)
    times = results.telemetry.set_index("key")["step_ms"].astype("float64")
    units = pairing.score_units(trials, metrics["test_loss"]).assign(score=-np.log(trials["key"].map(times)))
    axes = pairing.axes(results.manifest)
    points = pairing.pairs_of(units, results.manifest, axes, arm=arm, than=than, metric=metrics["step_time"])
    return [_without_shared_times(pairs) for pairs in points]


def _without_shared_times(pairs: pairing.Pairs) -> pairing.Pairs:
    """The pairs without those where either trial shares its measurement with an earlier one."""
    scores = pd.DataFrame({"ours": pairs.ours.scores, "theirs": pairs.theirs.scores})
    first = ~(scores["ours"].duplicated() | scores["theirs"].duplicated()).to_numpy()
    ours, theirs = (replace(sample, units=sample.units[first]) for sample in (pairs.ours, pairs.theirs))
    return replace(pairs, ours=ours, theirs=theirs)


def costs_statement(claim: Claim, manifest: Manifest) -> str:
    words = claim_words(claim, manifest)
    return (
        f"a step of {words.arm} takes at most {formatting.number(claim.margin)} times as long as one of {words.than}"
        f"{words.where}"
    )


COSTS = ClaimKind(
    check=lambda claim, manifest: None,  # every suite measures the time of a step
    margin_is_of_metric=False,
    compare=compare_costs,
    judge=judge_superiority,
    statement=costs_statement,
)
