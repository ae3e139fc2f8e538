"""`compare`: what changed beyond noise between two results of the same suites."""

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.analysis import formatting, wording
from harness.analysis.diff import ResultsDiff, diff
from harness.cli.fail_if import close_gate, parse_fail_if
from harness.errors import UsageError
from harness.storage.tables import read_results

CONDITIONS = ("changed", "verdicts", "bits")
MOST_LISTED = 10


def compare(options: argparse.Namespace) -> int:
    """Print what changed from the results in one folder to those in the other; the exit code."""
    asked = parse_fail_if(options.fail_if, CONDITIONS)
    found = [diff(read_results(a), read_results(b)) for a, b in _folders(options.before, options.after)]
    if nothing := [of.name for of in found if not of.matched]:
        raise UsageError(f"{', '.join(nothing)}: no trial has the same settings in both; compare results of one suite")
    if options.json:
        print(json.dumps([_as_json(of) for of in found], allow_nan=False))
    else:
        for of in found:
            print("\n".join(_lines(of)))
    close_gate(asked, {name: "; ".join(filter(None, (of.conditions[name] for of in found))) for name in CONDITIONS})
    return 0


def _folders(before: Path, after: Path) -> list[tuple[Path, Path]]:
    """Two folders of one suite, or those of the suites that both folders have."""
    for folder in (before, after):
        if not folder.is_dir():
            raise UsageError(f"no folder {folder}; name two folders of results, such as results/lr_sweep")
    if all((folder / "suite.json").exists() for folder in (before, after)):
        return [(before, after)]
    names = [{path.parent.name for path in folder.glob("*/suite.json")} for folder in (before, after)]
    if not (both := sorted(names[0] & names[1])):
        raise UsageError(f"{before} and {after} hold no results of the same suite; name two folders with a suite.json")
    return [(before / name, after / name) for name in both]


def _lines(of: ResultsDiff) -> list[str]:
    same, count = (sum(column) for column in zip((0, 0), *of.same_bits.values(), strict=True))
    by_arm = ", ".join(f"{arm} {its} of {total}" for arm, (its, total) in of.same_bits.items())
    lines = [
        f"{of.name}: {formatting.count(of.matched, 'trial')} in both, {same} of {count} the same to the bit ({by_arm})"
    ]
    if of.only_before or of.only_after:
        lines.append(f"  only before: {formatting.count(of.only_before, 'trial')}; only after: {of.only_after}")
    if of.without_result:
        lines.append(f"  left out, without a result in one of both: {formatting.count(of.without_result, 'trial')}")
    lines += [f"  {name.replace('_', ' ')}: {old}, then {new}" for name, (old, new) in of.made_with.items()]
    lines += [f"  {trial}: {old}, then {new}" for trial, old, new in of.statuses[:MOST_LISTED]]
    if len(of.statuses) > MOST_LISTED:
        lines.append(f"  ... and {len(of.statuses) - MOST_LISTED} more trials that ended otherwise")
    shown = [c for c in of.comparisons if c.point.endswith("over all points") or c in of.beyond_noise]
    lines += [f"  {wording.finding(c, equivalence=False)}" for c in shown]
    lines += [f"  verdict: {statement}: {old}, then {new}" for statement, old, new in of.verdicts]
    if of.claims_apart:
        lines.append(f"  left out, made by one of both suites: {formatting.count(of.claims_apart, 'claim')}")
    return [*lines, f"  {_conclusion(of)}"]


def _conclusion(of: ResultsDiff) -> str:
    if of.conditions["changed"]:
        return f"CHANGED beyond noise: {of.conditions['changed']}"
    if of.verdicts:  # which near its limits noise can turn, too
        return f"no score changed beyond noise, but {formatting.count(len(of.verdicts), 'verdict')} turned"
    if not of.conditions["bits"]:
        return "nothing changed"
    untested = [c for c in of.comparisons if c.n < c.seeds_needed]
    if untested:
        most = max(c.seeds_needed for c in untested)
        return f"no verdict changed; too few seeds to test {len(untested)} differences, {most} would do"
    return "nothing changed beyond noise"


def _as_json(of: ResultsDiff) -> dict[str, Any]:
    found = {**asdict(of), "beyond_noise": [asdict(c) for c in of.beyond_noise], "changed": of.conditions["changed"]}
    plain: dict[str, Any] = _plain(found)
    return plain


def _plain(value: Any) -> Any:
    """The value as JSON has it: a number that is missing is null."""
    if isinstance(value, dict):
        return {name: _plain(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(of) for of in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
