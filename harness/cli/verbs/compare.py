"""`compare`: what changed beyond noise between two results of the same suites."""

import argparse
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from harness.analysis.comparison import COMPARISON_FIELDS, Comparison
from harness.analysis.diff import ResultsDiff, corrected, diff
from harness.cli.diff_text import diff_lines
from harness.cli.fail_if import close_gate, parse_fail_if
from harness.cli.streams import print_json
from harness.errors import UsageError
from harness.storage.tables import read_results
from harness.text import printable

COMPARE_CONDITIONS = ("changed", "verdicts", "bits", "untested")


def compare(options: argparse.Namespace) -> int:
    """Print what changed from the results in one folder to those in the other; the exit code."""
    asked = parse_fail_if(options.fail_if, COMPARE_CONDITIONS)
    folders = _folders(options.before, options.after)
    differences = corrected([diff(read_results(before), read_results(after)) for before, after in folders])
    if unmatched := [difference.name for difference in differences if not difference.matched]:
        names = ", ".join(unmatched)
        raise UsageError(f"{names}: no trial has the same settings in both; compare results of one suite")
    if options.json:
        print_json([_diff_as_json(difference) for difference in differences])
    else:
        for difference in differences:
            print("\n".join(map(printable, diff_lines(difference))))
    cases, unjudged = (
        {name: "; ".join(filter(None, (found[name] for found in of_suites))) for name in COMPARE_CONDITIONS}
        for of_suites in ([d.conditions for d in differences], [d.unjudged for d in differences])
    )
    close_gate(asked, cases, unjudged)
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


def _diff_as_json(difference: ResultsDiff) -> dict[str, Any]:
    values = {
        **{field.name: getattr(difference, field.name) for field in fields(difference)},
        "comparisons": [_comparison_as_json(comparison) for comparison in difference.comparisons],
        "targets": difference.targets and [target and asdict(target) for target in difference.targets],
        "beyond_noise": [_comparison_as_json(comparison) for comparison in difference.beyond_noise],
        **{name: difference.conditions[name] for name in ("changed", "untested")},
    }
    return {name: _json_value(value) for name, value in values.items()}


def _comparison_as_json(comparison: Comparison) -> dict[str, Any]:
    return {name: getattr(comparison, name) for name in COMPARISON_FIELDS}


def _json_value(value: Any) -> Any:
    """The value as JSON has it: a number that is missing is null."""
    if isinstance(value, dict):
        return {name: _json_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
