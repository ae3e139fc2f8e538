"""`best_tuned`: each at its own best value of an axis, the arm does better on test data.

A seed is scored at the value that the validation scores of the other seeds choose.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from harness.analysis import formatting, pairing, stats
from harness.analysis.claim_checks import check_along, check_outcome
from harness.analysis.claim_kind import ClaimKind
from harness.analysis.claim_words import claim_words
from harness.analysis.comparison import Comparison, bound_of, compare_pairs, with_further_test
from harness.analysis.judging import judge_superiority
from harness.analysis.metrics import metrics_of
from harness.analysis.stats.arrays import FloatArray
from harness.analysis.sweeps import sweeps
from harness.errors import SuiteError
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest
from harness.storage.tables import Results


def chosen_by(metric: str) -> str:
    """What the best value is chosen by: the same on validation data."""
    return f"val_{metric.removeprefix('test_')}"


def check_best_tuned(claim: Claim, manifest: Manifest) -> None:
    check_outcome(claim, manifest)
    judged = [name for name in metrics_of(manifest).outcomes if name.startswith("test_")]
    if claim.metric not in judged:
        raise SuiteError(f"what is tuned is judged on test data: {' or '.join(judged)}, got {claim.metric!r}")
    check_along(claim, manifest)


def compare_tuned(claim: Claim, results: Results, rng: np.random.Generator) -> list[Comparison]:
    """With the interval of a bootstrap that chooses again in each resample.

    The differences of the seeds share the values that are chosen, and are not independent. So a word needs
    the sign-flip test as well, which looks at their size.
    """
    comparisons = []
    for pairs, interval, bound in tuned_pairs(claim, results, rng):
        comparison = with_further_test(
            compare_pairs(pairs, margin=claim.margin), *stats.sign_flip_sides(pairs.differences - claim.margin, rng)
        )
        comparisons.append(replace(comparison, low=interval.low, high=interval.high, bound=bound))
    return comparisons


def tuned_pairs(
    claim: Claim, results: Results, rng: np.random.Generator
) -> Iterator[tuple[pairing.Pairs, stats.Interval, str]]:
    """Pairs of cross-fitted scores, the interval of their mean difference, and what the difference is a bound of."""
    trials = pairing.matching(results.trials, claim.where)
    metrics = metrics_of(results.manifest)
    sign, metric = metrics[claim.metric].sign, metrics[f"{claim.metric} at the best {claim.along}"]
    for sweep in sweeps(trials, results.manifest, claim, [chosen_by(claim.metric), claim.metric]):
        n = len(sweep.pairs.ours.scores)
        if n < 2:
            nothing_chosen = np.full(n, np.nan)
            no_interval = stats.Interval(np.nan, np.nan, np.nan)
            yield sweep.with_scores(nothing_chosen, nothing_chosen, metric), no_interval, "exact"
            continue
        ours, theirs = ((sign * validation, sign * test) for validation, test in (sweep.ours, sweep.theirs))
        bound = bound_of(_is_at_end(ours[0]), _is_at_end(theirs[0])) if sweep.same_grid else "unknown"
        pairs = sweep.with_scores(sign * stats.cross_fitted(*ours), sign * stats.cross_fitted(*theirs), metric)
        yield pairs, stats.tuned_difference(ours, theirs, rng), bound


def _is_at_end(validation: FloatArray) -> bool:
    """Whether a seed's choice is the first or the last value, beyond which a better one may lie."""
    return bool({0, validation.shape[1] - 1} & set(stats.chosen_lrs(validation)))


def best_tuned_statement(claim: Claim, manifest: Manifest) -> str:
    words = claim_words(claim, manifest)
    return (
        f"at its own best {formatting.axis(claim.along)}, {words.arm} has a {words.better} {words.metric} than "
        f"{words.than} at its own{words.by_more}{words.where}"
    )


def tuned_bounds(comparisons: Sequence[Comparison]) -> str:
    """Whose best value lies at an end of the grid."""
    bounds = {comparison.bound for comparison in comparisons}
    if bounds & {"at most", "unknown"}:
        than = comparisons[0].than
        return f" The best of {than} lies at an end of its grid, or the grids differ: only a wider one can tell."
    if "at least" in bounds:
        return f" The best of {comparisons[0].arm} lies at an end of the grid: it may be better still."
    return ""


BEST_TUNED = ClaimKind(
    check=check_best_tuned,
    collapsed_axes=lambda claim: (claim.along,),
    compare=compare_tuned,
    judge=judge_superiority,
    statement=best_tuned_statement,
    bounds=tuned_bounds,
    test="exact sign test and sign-flip test",
)
