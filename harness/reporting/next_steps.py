"""What to do about a claim that is not decided: how many seeds would decide it, and what to type."""

import shlex
from dataclasses import dataclass

from harness.analysis import formatting
from harness.analysis.claims import KINDS
from harness.analysis.comparison import Comparison
from harness.analysis.judging import DESCRIPTIVE, EXPLORATORY, UNDECIDED, is_held_back
from harness.analysis.verdicts import Verdict
from harness.reporting.findings import judged_points
from harness.reporting.planning.designs import Design, claims_corrected, power_of
from harness.spec.manifest import DeclaredClaim, Manifest, seeds_of


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """What would decide a claim, in a sentence, and the command that follows it."""

    words: str
    command: str


def run_command(manifest: Manifest) -> str:
    """What trains the suite, and goes on where it stopped."""
    return f"python -m harness run {shlex.quote(manifest.path)}"


def next_step(verdict: Verdict, declared: DeclaredClaim, manifest: Manifest) -> NextStep | None:
    """What to do now; None where the claim is decided."""
    if verdict.word not in (UNDECIDED, DESCRIPTIVE, EXPLORATORY):
        return None
    return NextStep(words=_words(verdict, declared, manifest), command=run_command(manifest))


def _words(verdict: Verdict, declared: DeclaredClaim, manifest: Manifest) -> str:
    points, seeds = judged_points(verdict), len(seeds_of(manifest))
    if verdict.word == EXPLORATORY:
        return f"Ask it again of new seeds, in a suite of its own with {_fresh_seeds(manifest, seeds)}, and run that."
    if verdict.of_equal_arms:
        return "The setting that is compared did not reach the training: mend that, then run again."
    if any(c.arm_finished + c.than_finished < c.arm_trials + c.than_trials for c in points):
        return "Results are missing: run the rest."
    open_points = [c for c in points if c.verdict in (UNDECIDED, DESCRIPTIVE)]
    if any(c.n_missing or is_held_back(c, c.verdict) for c in open_points):
        return "Trials without a score keep it open: see Failures, mend them, then run again."
    if open_points and all(map(_is_hidden_by_grid, open_points)):
        bounds = KINDS[verdict.claim.kind].bounds(points).strip()
        axis = formatting.full_axis(verdict.claim.along or "lr")
        return f"{bounds} More seeds can't decide it: widen the grid of {axis} in {manifest.path}, then run."
    return _more_seeds(verdict, declared, manifest, seeds)


def _is_hidden_by_grid(c: Comparison) -> bool:
    """Whether the seeds agree and an end of the grid alone keeps the word back."""
    is_for, is_against = c.p_supporting < c.level, c.p_refuting < c.level
    return (is_for and c.bound in ("at most", "unknown")) or (is_against and c.bound in ("at least", "unknown"))


def _more_seeds(verdict: Verdict, declared: DeclaredClaim, manifest: Manifest, seeds: int) -> str:
    if verdict.claim.kind == "costs":
        return "More measurements would decide it: give the suite more seeds, then run."
    power = power_of(verdict, Design(seeds, "seed", claims_corrected(declared, manifest)), manifest)
    if power is None:
        return "Nothing has been compared yet."
    if power.needed is None:
        return "The seeds are split too evenly for any number worth training: ask with another margin, then run."
    return (
        f"About {power.needed} fresh seeds would decide it (power 80 %), if they come out like these {power.pairs}: "
        f"write {_fresh_seeds(manifest, power.needed)} in {manifest.path}, then run. Seeds beside those that were "
        "looked at are judged more strictly, unless --until-decided adds them."
    )


def _fresh_seeds(manifest: Manifest, count: int) -> str:
    """So many seeds beyond those that the suite has, as a suite says them."""
    first = 1 + max((seed for seed in seeds_of(manifest) if isinstance(seed, int)), default=-1)
    return f"seed=range({first}, {first + count})"
