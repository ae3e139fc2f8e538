"""What verdicts can show with the seeds that a suite has, before anything is trained: lines that `plan` prints."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.analysis import formatting, pairing, stats
from harness.analysis.judging import EXPLORATORY
from harness.analysis.metrics import metrics_of
from harness.analysis.validation import comparisons_of, doubts, figure_comparisons
from harness.analysis.verdicts import Verdict
from harness.spec.claim import Claim, as_list
from harness.spec.cohorts import Cohort
from harness.spec.manifest import DeclaredClaim, Manifest, claim_identity, early_claims

EQUALITIES = ("equivalent", "matches")  # kinds with a half on failures


@dataclass(frozen=True, slots=True)
class Design:
    """What a verdict rests on: so many seeds, or measurements of time, and so many claims in Holm's correction."""

    n: int
    noun: str
    claims: int


def claim_lines(manifest: Manifest, cohorts: Sequence[Cohort], pilot: Mapping[str, Verdict]) -> Iterator[str]:
    """A line for each claim, one for the figures, and what is doubtful.

    `pilot` has the verdicts on results that there are, by the identities of their claims.
    """
    for number, declared in enumerate(manifest.claims, start=1):
        claim, design = declared.claim, _design(declared, manifest, cohorts)
        parts = [_seeds_words(design), *_failures_words(claim, manifest, design)]
        if declared.declared_after:
            parts = [f"{EXPLORATORY}: it was declared after {declared.declared_after} trials had results"]
        if verdict := pilot.get(claim_identity(claim)):
            parts += _power_words(verdict, design, manifest)
        points = comparisons_of(claim, manifest)
        over = f" at {points} grid points" if points > 1 else ""
        yield f"claim {number} ({claim.kind}{over}): {'; '.join(parts)}"
    if tests := figure_comparisons(manifest):
        seeds, needed = len(pairing.values(manifest, "seed")), stats.seeds_needed(tests)
        answer = "enough" if seeds >= needed else "TOO FEW: they can only be descriptive"
        at_once = formatting.count(tests, "comparison")
        yield f"figures test up to {at_once} at once and need {needed} seeds, have {seeds}: {answer}"
    yield from doubts([declared.claim for declared in manifest.claims], manifest)


def _design(declared: DeclaredClaim, manifest: Manifest, cohorts: Sequence[Cohort]) -> Design:
    claims = claims_corrected(declared, manifest)
    if declared.claim.kind == "costs":
        return Design(_measurements(declared.claim, manifest, cohorts), "measurement", claims)
    return Design(len(pairing.values(manifest, "seed")), "seed", claims)


def claims_corrected(declared: DeclaredClaim, manifest: Manifest) -> int:
    """Over how many claims the p of this one is corrected."""
    return 1 if declared.declared_after else early_claims(manifest)


def _measurements(claim: Claim, manifest: Manifest, cohorts: Sequence[Cohort]) -> int:
    """How many times there are of either arm at every grid point: trials that train together are one measurement."""
    measured: dict[tuple[object, ...], set[int]] = {}
    for number, cohort in enumerate(cohorts):
        for trial in cohort.trials:
            point = tuple(getattr(trial, axis) for axis in (manifest.compare, *pairing.axes(manifest)))
            is_claimed = all(getattr(trial, axis) in as_list(wanted) for axis, wanted in claim.where.items())
            if is_claimed and point[0] in (claim.arm, claim.than):
                measured.setdefault(point, set()).add(number)
    return min(map(len, measured.values()), default=0)


def _seeds_words(design: Design) -> str:
    needed, borne = stats.seeds_needed(design.claims), stats.dissenters_borne(design.n, design.claims)
    has = formatting.count(design.n, design.noun)
    family = f" (Holm over {formatting.count(design.claims, 'claim')})" if design.claims > 1 else ""
    if borne < 0:
        worst = "descriptive" if design.n < stats.seeds_needed() else "undecided unless other claims are decided first"
        return f"needs {needed} {design.noun}s{family}, has {design.n}: TOO FEW: the verdict can only be {worst}"
    return f"{has} decide it though {borne} dissent{'s' if borne == 1 else ''}{family}: enough"


def _failures_words(claim: Claim, manifest: Manifest, design: Design) -> Iterator[str]:
    """What the half of an equality on failures takes, where there is one."""
    if not has_half_on_failures(claim, manifest):
        return
    needed = stats.seeds_for_failures(claim.tau, design.claims)
    answer = "enough" if design.n >= needed else "TOO FEW: it can be refuted, and not supported"
    yield f"{half_on_failures(claim)} takes {needed} without a lone failure: {answer}"


def half_on_failures(claim: Claim) -> str:
    """What an equality claims of failures, as the subject of a sentence."""
    return f"that neither arm fails alone in {formatting.number(100 * claim.tau)} % of seeds"


def has_half_on_failures(claim: Claim, manifest: Manifest) -> bool:
    return claim.kind in EQUALITIES and metrics_of(manifest)[claim.metric].failed != 0


@dataclass(frozen=True, slots=True)
class Power:
    """What results that there are say of how many seeds it takes: `agree` of `n` pairs without ties, of `pairs`."""

    agree: int
    n: int
    pairs: int
    needed: int | None  # pairs for a power of 80 %; None where no number is worth it


def power_of(verdict: Verdict, design: Design, manifest: Manifest) -> Power | None:
    """How many seeds decide the claim with a power of 80 %, by its least clear grid point; None without results."""
    shares = []
    for c in (c for c in verdict.comparisons if c.verdict and c.n):
        agree, n = (min(c.below_upper, c.above_lower), c.n) if c.is_equivalence else (c.wins, c.wins + c.losses)
        shares.append((agree, n, c.n))
    if not shares:
        return None
    agree, n, pairs = min(shares, key=lambda share: share[0] / max(share[1], 1))
    likely = max(agree + 0.5, n - agree + 0.5) / (n + 1)  # nothing is certain after a few seeds
    needed = stats.seeds_for_power(likely, design.claims)
    if needed is not None and has_half_on_failures(verdict.claim, manifest):
        needed = max(needed, stats.seeds_for_failures(verdict.claim.tau, design.claims))
    with_ties = None if needed is None or not n else -(-needed * pairs // n)
    return Power(agree, n, pairs, with_ties)


def _power_words(verdict: Verdict, design: Design, manifest: Manifest) -> Iterator[str]:
    """From results that there are, how many seeds decide the claim with a power of 80 %."""
    power = power_of(verdict, design, manifest)
    if power is None:
        return
    side = "agree" if 2 * power.agree >= power.n else "agree with it, and the others would refute it"
    answer = f"about {power.needed} {design.noun}s" if power.needed else "no number that is worth it"
    pairs = formatting.count(power.pairs, design.noun)
    yield f"of {pairs} so far {power.agree} {side}: a power of 80 % takes {answer}"
