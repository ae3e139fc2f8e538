"""Arms that differ by several settings: each variant named by what was changed alone, and what that did."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from harness.analysis import formatting
from harness.analysis.claim_pairs import other_arm_words
from harness.analysis.claim_words import margin_unit
from harness.analysis.comparison import Comparison
from harness.analysis.judging import REFUTED, SUPPORTED
from harness.analysis.metrics import metrics_of
from harness.analysis.verdicts import Verdict
from harness.analysis.wording import statement
from harness.reporting.findings import changed_words, is_variant, judged_points
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest

MIN_VARIANTS = 3
USUAL_SETTINGS = "the usual settings"  # those that variants change
MAX_NAMED = 5  # variants that the answer names


def variant_claims(claims: Iterable[Claim]) -> list[Claim]:
    """The claims on variants of one arm, where several are compared in the same metric and way; else none."""
    variants = [claim for claim in claims if is_variant(claim)]
    ways = {(claim.kind, claim.metric) for claim in variants}
    return variants if len(variants) >= MIN_VARIANTS and len(ways) == 1 else []


def variant_verdicts(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts on these claims."""
    verdicts = list(verdicts)
    variants = variant_claims(verdict.claim for verdict in verdicts)
    return [verdict for verdict in verdicts if verdict.claim in variants]


def claim_words(verdict: Verdict, manifest: Manifest) -> str:
    """The claim in words; of a variant what it changes comes first, and the settings that all share are not told."""
    claim = verdict.claim
    if is_variant(claim) and claim.kind == "equivalent":
        margin = formatting.amount(claim.margin, margin_unit(claim, manifest))
        before = default_words([verdict]) if len(claim.against) > 1 else formatting.value(*claim.against.values())
        kept = f"the {metrics_of(manifest)[claim.metric].words} of {formatting.value(claim.arm)}"
        return f"{changed_words(claim)} instead of {before} keeps {kept} within {margin}"
    if is_variant(claim):
        return _named_by_what_differs(claim, manifest)
    shared = _usual_settings(manifest)
    if len(claim.where) > 1 and all(pair in shared for pair in claim.where.items()):
        return f"{statement(replace(claim, where={}), manifest)}, at the settings that the others change"
    return verdict.statement


def _named_by_what_differs(claim: Claim, manifest: Manifest) -> str:
    """The claim with its sides told apart by their settings: "batch at warmup steps 30 ... than at warmup steps 0"."""
    kept = {axis: value for axis, value in claim.where.items() if axis not in claim.against}
    text, arm = statement(replace(claim, where=kept), manifest), formatting.value(claim.arm)
    before, after = f"than {other_arm_words(claim, manifest)}", f"than at {formatting.point(claim.against)}"
    if not (text.startswith(f"{arm} ") and before in text):
        return statement(claim, manifest)
    return f"{arm} at {changed_words(claim)}{text[len(arm) :].replace(before, after, 1)}"


def default_words(verdicts: Sequence[Verdict]) -> str:
    """The settings that all variants are compared with."""
    defaults = {axis: value for verdict in verdicts for axis, value in verdict.claim.against.items()}
    return formatting.point(defaults)


def point_words(point: str, manifest: Manifest) -> str:
    """A grid point, given in words, in a suite of variants by what it changes alone."""
    usual = {formatting.point({axis: value}) for axis, value in _usual_settings(manifest)}
    changed = [part for part in point.split(", ") if part not in usual]
    return ", ".join(changed) if changed else USUAL_SETTINGS


def _usual_settings(manifest: Manifest) -> list[tuple[str, Any]]:
    """The settings that the variants of a suite change: axes and their values; none where it has no variants."""
    variants = variant_claims(declared.claim for declared in manifest.claims)
    return [pair for variant in variants for pair in variant.against.items()]


def variants_answer(verdicts: Sequence[Verdict], manifest: Manifest) -> str:
    """Which changes matter, by how much, and which do not."""
    variants = variant_verdicts(verdicts)
    arm = formatting.value(variants[0].claim.arm)
    arm = f"{arm} norm" if manifest.compare == "norm" else f"{formatting.axis(manifest.compare)} {arm}"
    metric = judged_points(variants[0])[0].definition
    margin = formatting.amount(variants[0].claim.margin, metric.unit)
    matter = [(verdict, _largest(verdict)) for verdict in variants if verdict.word == REFUTED]
    alike = [verdict for verdict in variants if verdict.word == SUPPORTED]
    n_open = len(variants) - len(matter) - len(alike)
    if variants[0].claim.kind not in ("equivalent", "matches"):
        return f"Of {len(variants)} changes to {arm}, {len(alike)} do as claimed, {len(matter)} do not."
    parts = [f"{len(alike)} keep {metric.words} within {margin}{_named(alike)}"] if alike else []
    if matter:
        matter = sorted(matter, key=lambda pair: -abs(pair[1].estimate))
        listed = [f"{changed_words(v.claim)}: {formatting.difference(c.estimate, c.direction)}" for v, c in matter]
        more = f" and {len(listed) - MAX_NAMED} more" if len(listed) > MAX_NAMED else ""
        what = "it" if alike else metric.words
        by_more = "by more" if alike else f"by more than {margin}"
        parts.append(f"{len(matter)} change {what} {by_more} ({'; '.join(listed[:MAX_NAMED])}{more})")
    if n_open:
        parts.append(f"{n_open} {'is' if n_open == 1 else 'are'} undecided")
    return f"Of {len(variants)} changes to the settings of {arm}, {formatting.listing(parts)}."


def _named(verdicts: Sequence[Verdict]) -> str:
    if not verdicts or len(verdicts) > MAX_NAMED:
        return ""
    return f" ({'; '.join(changed_words(verdict.claim) for verdict in verdicts)})"


def _largest(verdict: Verdict) -> Comparison:
    known = [c for c in judged_points(verdict) if not math.isnan(c.estimate)] or judged_points(verdict)
    return max(known, key=lambda c: 0 if math.isnan(c.estimate) else abs(c.estimate))
