"""Trials that were trained elsewhere, trained again on this machine and compared."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.spec.manifest import Manifest, kinds_of_machines
from harness.spec.trial import Value
from harness.storage.merging import made_with
from harness.storage.records import TRAINED, Record, ResultsDir, read_manifest, read_record

# What rounding can move on another kind of machine, at most: see docs/clusters.md for what was measured.
MAX_INITIAL_LOSS = 1e-3  # relative: no step has been taken yet that could make more of a difference
MAX_INITIAL_LOSS_LOW_PRECISION = 0.05  # of a trial in bfloat16 or TensorFloat32
MAX_ACCURACY = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Rechecked:
    """A trial trained again: how far it is from what was recorded."""

    key: str
    is_equal: bool  # to the bit
    accuracy: float = 0.0  # largest difference of an accuracy after the last step
    loss: float = 0.0
    fault: str = ""  # why this can't be rounding


def is_foreign_suite(path: Path, folders: Iterable[Path]) -> bool:
    """Whether a suite file may have come with the results in these folders.

    A suite is a program, and a stranger's suite.json may name any: only a file below the current folder, and outside of
    the results, is the user's own.
    """
    inside = [folder.resolve() for folder in folders]
    if "\0" in str(path):
        return True
    return not path.resolve().is_relative_to(Path.cwd()) or any(path.resolve().is_relative_to(one) for one in inside)


def sample(keys: Iterable[str], amount: float) -> list[str]:
    """As many of these keys as asked for, a share below 1 or a number: the same whenever and wherever it is asked."""
    ordered = sorted(keys, key=lambda key: hashlib.sha256(f"recheck {key}".encode()).digest())
    return ordered[: math.ceil(amount * len(ordered)) if isinstance(amount, float) else int(amount)]


def compare_again(results_dir: ResultsDir, again: ResultsDir, manifest: Manifest, key: str) -> Rechecked:
    """Compare the record of a trial with that of the same trial trained again."""
    before = read_record(results_dir.record(key))
    try:
        after = read_record(again.record(key))
    except FileNotFoundError:
        return Rechecked(key=key, is_equal=False, fault="it could not be trained again")
    if after.outcome != TRAINED:
        fault = f"it could not be trained again: {after.outcome}{f', {after.error}' if after.error else ''}"
        return Rechecked(key=key, is_equal=False, fault=fault)
    if (before.facts, before.curves) == (after.facts, after.curves):
        return Rechecked(key=key, is_equal=True)
    here = read_manifest(again)
    is_alike = here is not None and _must_be_equal(before, after, kinds_of_machines(manifest), here.fingerprint)
    differences = {name: _difference(before, after, name) for name in ("accuracy", "loss")}
    fault = (
        "it was made on this kind of machine, so bits should be equal" if is_alike else _beyond_rounding(before, after)
    )
    return Rechecked(key=key, is_equal=False, fault=fault, **differences)


def _must_be_equal(
    before: Record, after: Record, kinds: Iterable[Mapping[str, Value]], fingerprint: Mapping[str, Value]
) -> bool:
    """Whether both were made by the same code on the same kind of machine, as far as is known."""
    possible = [
        kind
        for kind in kinds
        if all(kind.get(name) == before.telemetry.get(name) for name in ("machine", "cpu", "torch"))
    ]
    return made_with(before) == made_with(after) and bool(possible) and all(kind == fingerprint for kind in possible)


def _difference(before: Record, after: Record, metric: str) -> float:
    """The largest difference after the last step, over all splits that both have a value of."""
    return max((abs(old - new) for old, new in _last_values(before, after, metric)), default=0.0)


def _last_values(before: Record, after: Record, metric: str) -> list[tuple[float, float]]:
    pairs = [
        (before.curves[name]["value"][-1], after.curves[name]["value"][-1])
        for name in before.curves
        if name.endswith(f".{metric}") and not name.startswith("probe.") and name in after.curves
    ]
    return [(old, new) for old, new in pairs if old is not None and new is not None]


def _beyond_rounding(before: Record, after: Record) -> str:
    """What rounding can't explain of the difference; empty where it can."""
    diverged = [record.facts["fail_step"] is not None for record in (before, after)]
    if diverged[0] != diverged[1]:
        return f"its loss was {'not ' if diverged[0] else ''}finite, and here it is{' not' if diverged[1] else ''}"
    first = [record.curves["train.loss"]["value"][0] for record in (before, after)]
    is_low = before.trial.get("precision") == "bfloat16" or before.trial.get("tf32")
    tolerance = MAX_INITIAL_LOSS_LOW_PRECISION if is_low else MAX_INITIAL_LOSS
    if None not in first and abs(first[0] - first[1]) > tolerance * abs(first[0]):
        return f"its loss was {first[0]:.6g} before the first step, and here it is {first[1]:.6g}"
    if (accuracy := _difference(before, after, "accuracy")) > MAX_ACCURACY:
        return f"its accuracy was {100 * accuracy:.1f} points away, and rounding moves at most {100 * MAX_ACCURACY:.0f}"
    return ""
