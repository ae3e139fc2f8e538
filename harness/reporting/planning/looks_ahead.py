"""What a run until decided may cost: lines that `plan` prints."""

from collections.abc import Iterator, Sequence

import scipy

from harness.analysis import formatting
from harness.analysis.looking.words import planned_words
from harness.analysis.stats.looks import counts_needed, expected_seeds, level_spent, shows_failures_from
from harness.reporting.planning.designs import half_on_failures, has_half_on_failures
from harness.spec.claim import Claim
from harness.spec.looks import looks_ahead
from harness.spec.manifest import Manifest, early_claims, seeds_of

EFFECTS = (0.5, 1.0, 2.0)  # differences in units of their standard deviation


def cost_lines(manifest: Manifest, max_seeds: int, most_trials: int) -> Iterator[str]:
    """At how many seeds verdicts are looked at, what decides a claim there, and how many seeds it is likely to take.

    `most_trials` are those that the suite has at most before seeds are added.
    """
    if manifest.looks:
        yield planned_words(manifest.looks, manifest.max_seeds)
    seeds = len(seeds_of(manifest))
    past = [look.seeds for look in manifest.looks if look.seeds < seeds]
    looks = [*past, *looks_ahead(seeds, max_seeds)]
    spent = [level_spent(n, max_seeds) for n in looks]
    claims = early_claims(manifest)
    counts = counts_needed(looks, spent, max(claims, 1))
    at = ", ".join(
        f"{n} (a lead in {count} decides it)" if count <= n else f"{n} (none is possible)"
        for n, count in zip(looks, counts, strict=True)
    )
    yield f"looks at verdicts, with {formatting.count(claims, 'claim')} without a word: {at} seeds"
    for number, declared in enumerate(manifest.claims, start=1):
        if has_half_on_failures(declared.claim, manifest):
            yield f"claim {number}: {_failures_words(declared.claim, looks, spent, claims)}"
    expected = [expected_seeds(scipy.stats.norm.cdf(d), looks, spent, max(claims, 1)) for d in EFFECTS]
    numbers, effects = (formatting.listing(f"{value:.2g}" for value in values) for values in (expected, EFFECTS))
    yield (
        f"a claim takes about {numbers} seeds where the difference is {effects} of its standard deviations, "
        f"{max_seeds} where it never gets a word"
    )
    most = most_trials * max_seeds // seeds
    yield f"{manifest.trials} trials at least, about {most} at most; seeds are added only where a claim has no word"


def _failures_words(claim: Claim, looks: Sequence[int], spent: Sequence[float], claims: int) -> str:
    """From which look on an equality can be supported; its half on failures has its share of the level over looks."""
    shown = f"{half_on_failures(claim)} can be shown"
    n = shows_failures_from(looks, spent, claim.tau, claims)
    if n is None:
        return f"{shown} at none of these looks, so it can be refuted, and not supported; raise --max-seeds"
    return f"{shown} from the look at {n} seeds on"
