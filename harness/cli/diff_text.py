"""What `compare` prints of two results: what changed, and a conclusion."""

from harness.analysis import formatting
from harness.analysis.diff import ResultsDiff
from harness.analysis.finding import finding
from harness.analysis.measures.measure import unit_of
from harness.spec.measured import ACCURACY, Target

MOST_STATUS_CHANGES = 10


def diff_lines(difference: ResultsDiff) -> list[str]:
    """A line for each thing that differs, between a line that counts and one that concludes."""
    n_same, n_both = (sum(column) for column in zip((0, 0), *difference.same_bits.values(), strict=True))
    by_arm = ", ".join(f"{arm} {same} of {count}" for arm, (same, count) in difference.same_bits.items())
    matched = formatting.count(difference.matched, "trial")
    lines = [f"{difference.name}: {matched} in both, {n_same} of {n_both} the same to the bit ({by_arm})"]
    if difference.only_before or difference.only_after:
        only_before = formatting.count(difference.only_before, "trial")
        lines.append(f"  only before: {only_before}; only after: {difference.only_after}")
    if difference.without_result:
        lines.append(
            f"  excluded, because one side has no result: {formatting.count(difference.without_result, 'trial')}"
        )
    lines += [f"  {name.replace('_', ' ')}: {old}, then {new}" for name, (old, new) in difference.made_with.items()]
    lines += [f"  {trial}: {old}, then {new}" for trial, old, new in difference.statuses[:MOST_STATUS_CHANGES]]
    if len(difference.statuses) > MOST_STATUS_CHANGES:
        lines.append(f"  ... and {len(difference.statuses) - MOST_STATUS_CHANGES} more trials that ended otherwise")
    shown = [c for c in difference.comparisons if c.point.endswith("over all points") or c in difference.beyond_noise]
    lines += [f"  {finding(c)}" for c in shown if n_same < n_both]  # else there is nothing to compare
    lines += [f"  verdict: {statement}: {old}, then {new}" for statement, old, new in difference.verdicts]
    if difference.targets:
        old, new = (_target_words(target) for target in difference.targets)
        left_out = formatting.count(difference.claims_retargeted, "claim")
        lines.append(f"  another target, {old} then {new}: {left_out} that rest on it are not compared")
    if difference.claims_apart:
        lines.append(
            f"  excluded, because only one side makes them: {formatting.count(difference.claims_apart, 'claim')}"
        )
    return [*lines, f"  {conclusion(difference)}"]


def _target_words(target: Target | None) -> str:
    if target is None:
        return "none"
    level = formatting.level(target.value, unit_of(target.spec))
    return level if target.metric == ACCURACY else f"{target.spec.words} {level}"


def conclusion(difference: ResultsDiff) -> str:
    """What the two results differ in, in one sentence."""
    if difference.conditions["changed"]:
        return f"CHANGED beyond noise: {difference.conditions['changed']}"
    if difference.verdicts:  # near its limits, noise can turn a verdict too
        return f"no score changed beyond noise, but {formatting.count(len(difference.verdicts), 'verdict')} turned"
    if not difference.conditions["bits"]:
        return "nothing changed"
    if untested := difference.conditions["untested"]:
        return f"no verdict changed, and what changed is untested: {untested}"
    return "nothing changed beyond noise"
