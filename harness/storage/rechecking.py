"""Trials that were trained elsewhere, trained again on this machine and compared."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import DamageError
from harness.io import dump_checked_json, load_checked_json, write_atomically
from harness.spec.manifest import Manifest, kinds_of_machines, measured_of
from harness.spec.metric import FRACTION, MetricSpec
from harness.spec.own_training.own_trial import AnyTrial, OwnTrial
from harness.spec.trial import Value
from harness.storage.merging import made_with
from harness.storage.records import TRAINED, Record, ResultsDir, read_manifest, read_record, read_records
from harness.typed import fits

# What rounding can move on another kind of machine: docs/clusters.md says what was measured.
MAX_INITIAL_LOSS = 1e-3  # relative: before the first step nothing makes more of a difference
MAX_INITIAL_LOSS_LOW_PRECISION = 0.05  # of a trial in bfloat16 or TensorFloat32
# After the last step, relative where the metric is no fraction; or, where training is unstable, what seeds differ in:
MAX_SCORE = 0.05
FINDINGS = "recheck.json"  # in a results folder
SEED_RANGES = 2  # times the range of their scores


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

    A suite is a program, and a stranger's suite.json may name any. The user's own lies below the current folder, and
    not in the same folder of it as any results.
    """
    try:
        here, first = Path.cwd(), path.resolve().relative_to(Path.cwd()).parts[0]
    except (ValueError, IndexError):
        return True
    resolved = [folder.resolve() for folder in folders]
    return any(
        here.is_relative_to(folder) or (folder.is_relative_to(here) and folder.relative_to(here).parts[0] == first)
        for folder in resolved
    )


def sample(trials: Iterable[AnyTrial], amount: float) -> list[AnyTrial]:
    """As many of these trials as asked for, a share or a number: the same whenever and wherever it is asked."""
    ordered = sorted(trials, key=lambda trial: hashlib.sha256(f"recheck {trial.key}".encode()).digest())
    return ordered[: math.ceil(amount * len(ordered)) if isinstance(amount, float) else int(amount)]


def compare_again(
    results_dir: ResultsDir, again: ResultsDir, manifest: Manifest, trial: AnyTrial, trials: Iterable[AnyTrial]
) -> Rechecked:
    """Compare the record of a trial, one of all these, with that of the same trial trained again."""
    before = read_record(results_dir.record(trial.key))
    try:
        after = read_record(again.record(trial.key))
    except FileNotFoundError:
        return Rechecked(key=trial.key, is_equal=False, fault="it could not be trained again")
    if after.outcome != TRAINED:
        fault = f"it could not be trained again: {after.outcome}{f', {after.error}' if after.error else ''}"
        return Rechecked(key=trial.key, is_equal=False, fault=fault)
    if (before.facts, before.curves) == (after.facts, after.curves):
        return Rechecked(key=trial.key, is_equal=True)
    if isinstance(trial, OwnTrial):
        return Rechecked(key=trial.key, is_equal=False, fault=_own_difference(before, after))
    accuracy, loss = (_difference(before, after, metric) for metric in ("accuracy", "loss"))
    judged_by, spec = next(iter(measured_of(manifest).of(trial).items()))
    moved = _difference(before, after, judged_by)
    here = read_manifest(again)
    if here is not None and _must_be_equal(before, after, kinds_of_machines(manifest), here.fingerprint):
        fault = "it was made on this kind of machine, so bits should be equal"
    elif moved > MAX_SCORE * _scale(before, judged_by, spec) and moved > SEED_RANGES * _range_of_seeds(
        results_dir, after, trial, trials, judged_by
    ):
        fault = f"its {spec.words} is further away than rounding, or another seed, moves it"
    else:
        fault = _difference_from_the_start(before, after)
    return Rechecked(key=trial.key, is_equal=False, accuracy=accuracy, loss=loss, fault=fault)


def _own_difference(before: Record, after: Record) -> str:
    """What differs of own training: whoever wrote the function alone can tell why."""
    old, new = before.facts["outcomes"], after.facts.get("outcomes", {})
    changed = [f"{name} was {old[name]}, is {new.get(name)}" for name in old if old[name] != new.get(name)]
    return "; ".join(changed) or "its outcomes are equal, and its curves differ"


def write_findings(results_dir: ResultsDir, rechecked: Iterable[Rechecked]) -> None:
    """Write down for the report which trials came to the same when they were trained again."""
    equal = {trial.key: trial.is_equal for trial in rechecked}
    write_atomically(results_dir.root / FINDINGS, dump_checked_json({"equal": equal}))


def read_findings(folder: Path) -> dict[str, bool]:
    """The trials that were trained again last, and whether they came to the same; empty where none was."""
    try:
        equal: dict[str, bool] = load_checked_json(folder / FINDINGS).get("equal", {})
    except FileNotFoundError:
        return {}
    if not fits(equal, Mapping[str, bool]):
        raise DamageError(f"{folder / FINDINGS} is not what was written; remove it")
    return equal


def _scale(before: Record, metric: str, spec: MetricSpec) -> float:
    """What a difference in this metric is large beside: 1 of a fraction, else the largest value after the last step."""
    return (
        1.0
        if spec.unit == FRACTION
        else max((abs(old) for old, _ in _last_values(before, before, metric)), default=0.0)
    )


def _range_of_seeds(
    results_dir: ResultsDir, after: Record, trial: AnyTrial, trials: Iterable[AnyTrial], metric: str
) -> float:
    """The range of a metric on test data over seeds: the other ones of the trial, and the trial as trained here."""
    others = [other for other in trials if other.seed != trial.seed and replace(other, seed=trial.seed) == trial]
    known, _ = read_records(results_dir, [other.key for other in others])
    curves = [record.curves.get(f"test.{metric}") for record in (*known.values(), after)]
    values = [curve["value"][-1] for curve in curves if curve is not None and curve["value"][-1] is not None]
    return max(values, default=0.0) - min(values, default=0.0)


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


def _difference_from_the_start(before: Record, after: Record) -> str:
    """How the trials differ in what does not wait for small differences to grow; empty where they don't."""
    diverged = [record.facts["fail_step"] is not None for record in (before, after)]
    if diverged[0] != diverged[1]:
        return f"its loss was {'not ' if diverged[0] else ''}finite, and here it is{' not' if diverged[1] else ''}"
    first = [record.curves["train.loss"]["value"][0] for record in (before, after)]
    is_low = before.trial.get("precision") == "bfloat16" or before.trial.get("tf32")
    tolerance = MAX_INITIAL_LOSS_LOW_PRECISION if is_low else MAX_INITIAL_LOSS
    if None not in first and abs(first[0] - first[1]) > tolerance * abs(first[0]):
        return f"its loss was {first[0]:.6g} before the first step, and here it is {first[1]:.6g}"
    return ""
