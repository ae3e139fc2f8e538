"""The parts that statements of claims are made of: arms, margins and grid points in words."""

from dataclasses import dataclass
from typing import Any

from harness.analysis import formatting
from harness.analysis.claim_pairs import other_arm_words
from harness.analysis.measures.curve_values import with_at
from harness.analysis.measures.measure import unit_of
from harness.analysis.measures.outcomes import SPLIT_WORDS
from harness.analysis.metrics import metrics_of
from harness.spec.claim import Claim, as_list
from harness.spec.manifest import Manifest, measured_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimWords:
    """A claim in parts; `where` and `by_more` begin with a comma and may be empty."""

    arm: str
    than: str  # with its grid point, where it is another than that of the arm
    metric: str
    better: str  # "higher", "lower", "sooner"
    margin: str  # with its unit
    by_more: str  # ", by more than 5.0 points"; empty where the margin is 0
    where: str  # ", at lr 0.1 and 0.3"


def claim_words(claim: Claim, manifest: Manifest, unit: formatting.Unit | None = None) -> ClaimWords:
    """The parts of a claim; the unit of its margin is that of the metric if no other is given."""
    metric = metrics_of(manifest)[with_at(claim.metric, claim.at)]
    margin = formatting.amount(claim.margin, unit or margin_unit(claim, manifest))
    return ClaimWords(
        arm=formatting.value(claim.arm),
        than=other_arm_words(claim, manifest),
        metric=metric.words,
        better=metric.better,
        margin=margin,
        by_more=f", by more than {margin}" if claim.margin else "",
        where="".join(f", at {formatting.axis(name)} {_values(wanted)}" for name, wanted in claim.where.items()),
    )


def margin_unit(claim: Claim, manifest: Manifest) -> formatting.Unit:
    """The unit of the metric, or of its ratios."""
    name = with_at(claim.metric, claim.at)
    return metrics_of(manifest)[f"{name} as a ratio" if claim.is_ratio else name].unit


def target_words(manifest: Manifest, split: str) -> str:
    """What the suite wants reached on data of a split: "a test accuracy of 90.0 %", "a validation perplexity of 20"."""
    of_suite = measured_of(manifest)
    target = of_suite.target
    if target is None:
        return "the target"
    on_split = "" if of_suite.is_own else f"{SPLIT_WORDS[split]} "  # outcomes of own training say it in their words
    return f"a {on_split}{target.spec.words} of {formatting.level(target.value, unit_of(target.spec))}"


def _values(wanted: Any) -> str:
    return formatting.listing(formatting.value(None if value == "" else value) for value in as_list(wanted))
