"""The source of truth: one self-checksummed file per trial, and one for the suite that they belong to."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from harness.errors import MAX_ERROR_LINE, DamageError, NewerSchemaError, SuiteError
from harness.io import create_atomically, dump_checked_json, load_checked_json, write_atomically
from harness.spec.manifest import Manifest, from_json, to_json
from harness.spec.measured import GUESS, Target
from harness.spec.own_training.own_trial import TRAIN, trial_of
from harness.spec.trial import Value
from harness.typed import fits, shown, type_hints

SCHEMA = 1
NO_RESULT = ("oom", "crashed", "timeout", "skipped")  # outcomes of a trial that ended without a result
TRAINED = "trained"
CHECKPOINT_KINDS = ("last", "best")  # of a trial's weights: after its last step, and where it validated best
FACTS: dict[str, Any] = {  # what tables and verdicts are made from -> its type
    **dict.fromkeys(("steps", "steps_per_epoch", "fail_step", "norm_batch", "classes", "parameters"), int | None),
    **dict.fromkeys(("train_examples", "test_examples"), int | None),
    "guess_loss": float,
    "sync_bn_impl": str,
    "outcomes": Mapping[str, float | None],  # of own training; one that is not finite is missing
    "labels": Sequence[int | str | bool],  # what the data have for class 0, 1, ..., where it is not that
}
TELEMETRY: dict[str, Any] = {  # columns of telemetry.csv -> their types
    "key": str,
    **dict.fromkeys(("seconds_train", "seconds_eval", "seconds_checkpoint", "step_ms"), float | None),
    **dict.fromkeys(("samples_per_second", "peak_memory_mb"), float | None),
    **dict.fromkeys(("cohort_size", "attempts", "resumes"), int | None),
    **dict.fromkeys(("started", "finished", "host", "device_name"), str | None),
    "threads": int | None,
    **dict.fromkeys(("torch", "python", "machine", "cpu", "backend", "commit"), str | None),
    "dirty": bool | None,
    "code_hash": str | None,
}
FOREIGN = "environment_changes"  # column of telemetry.csv where a trial was trained on another kind of machine
TELEMETRY_TYPES = {**TELEMETRY, FOREIGN: str | None}
POSITIVE = ("steps", "steps_per_epoch", "classes", "train_examples", "test_examples")
LOSS_ROUNDINGS = 8  # units in the last place: what log-softmax may be off for one example, and so for all of them
EPSILONS = {"float64": 2.0**-52}  # precision -> the distance from 1 to the next number; a loss is float32 in all others
REGRESSION = "regression"  # the task whose own loss is no logarithm
STEPS, VALUES = Sequence[int], Sequence[float | None]  # of a curve


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of one trial: what it was, how it ended, and what was measured."""

    key: str
    trial: Mapping[str, Value]  # the fields that differ from their default
    outcome: str  # trained, or one of NO_RESULT
    facts: Mapping[str, Any] = field(default_factory=dict)  # steps, classes, fail_step, ...: no clock, no host
    curves: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)  # "val.loss" -> step, value
    telemetry: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""  # one line; the traceback stands under logs/

    def __post_init__(self) -> None:
        if self.outcome not in (TRAINED, *NO_RESULT):
            raise DamageError(f"record {shown(self.key)}: unknown outcome {shown(self.outcome)}")


def failure(record: Record) -> str | None:
    """How a trained trial failed to train, None where it did train: a result in either case.

    A loss that is not under that of guessing by class frequencies counts as no better than at initialisation too: some
    inits start far above it, and a net that has collapsed to one answer ends there. That net's loss is the guessing one
    but for rounding, so a loss is under another where it is so by more than LOSS_ROUNDINGS of its precision.
    """
    if record.facts["fail_step"] is not None:
        return "nonfinite"
    if TRAIN in record.trial:  # what it comes to, its own function alone can tell
        return None
    if record.trial.get("steps") == 1:  # it is for what is measured before the update, and trains no net
        return None
    loss = record.curves["train.loss"]["value"]
    untrained = min(loss[0], record.facts.get("guess_loss", math.inf))
    tolerance = LOSS_ROUNDINGS * EPSILONS.get(str(record.trial.get("precision")), 2.0**-23)
    # Log-softmax adds up exponentials of which the largest is 1: a small loss is no more exact than one of 1. That of a
    # regression, or of a suite's own loss, has a scale of its own.
    is_logarithm = record.trial.get("task") != REGRESSION and not record.trial.get("loss")
    scale = max(1.0, untrained) if is_logarithm else abs(untrained)
    return "no_better_than_init" if loss[-1] >= untrained - tolerance * scale else None


def status_of(record: Record, outcomes: Mapping[str, Any], target: Target | None) -> str:
    """How a trial ended: the first of nonfinite, no_better_than_init, below_target, ok that is true of it."""
    if record.outcome != TRAINED:
        return record.outcome
    if failed := failure(record):
        return failed
    # The value is missing where the test loss alone is not finite.
    if target is not None and not target.is_reached(outcomes[target.column]):
        return "below_target"
    return "ok"


@dataclass(frozen=True, slots=True)
class ResultsDir:
    """The results folder of one suite: where each thing stands."""

    root: Path

    @property
    def manifest(self) -> Path:
        return self.root / "suite.json"

    @property
    def last_run(self) -> Path:
        return self.root / "last_run.json"

    @property
    def records(self) -> Path:
        return self.root / "records"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def claims(self) -> Path:
        return self.root / "claims"

    @property
    def running(self) -> Path:
        return self.root / "running"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def record(self, key: str) -> Path:
        return self.records / f"{key}.json"

    def model(self, key: str, which: str) -> Path:
        return self.models / f"{key}.{which}"

    def plane(self, key: str) -> Path:
        return self.root / "data" / "planes" / f"{key}.npz"


def write_record(results_dir: ResultsDir, record: Record) -> None:
    """Write the record of a trial; a result that stands already is never changed, nor is one of a newer version."""
    path = results_dir.record(record.key)
    try:
        if read_record(path).outcome == TRAINED:
            return
    except NewerSchemaError:
        raise
    except (FileNotFoundError, DamageError):
        pass
    write_atomically(path, dump_record(record))


def dump_record(record: Record) -> bytes:
    """The bytes of a record's file."""
    members = {f.name: getattr(record, f.name) for f in fields(Record)}  # asdict would copy all curves
    return dump_checked_json({"schema": SCHEMA, **members})


def read_record(path: Path, key: str | None = None) -> Record:
    """The record at `path`; DamageError where it is damaged, of a newer version, or of another trial than `key`.

    The file is named by the key, unless one is given.
    """
    content = _require_current_schema(load_checked_json(path), path)
    names = {f.name for f in fields(Record)}
    if set(content) != names:
        raise DamageError(
            f"{path} is no record: its members are {', '.join(sorted(content)) or 'none'}"[:MAX_ERROR_LINE]
        )
    record = Record(**content)
    if record.key != (path.stem if key is None else key):
        raise DamageError(f"{path} is the record of another trial, {shown(record.key)}")
    if fault := find_fault(record):
        raise DamageError(f"{path} is no record that training wrote: {fault}")
    return record


def find_fault(record: Record) -> str | None:
    """What in a record is missing or of a wrong type: its checksum holds, but a stranger may have written it."""
    for name, hint in type_hints(Record).items():
        if not fits(getattr(record, name), hint):
            return f"its {name} is {shown(getattr(record, name))}"
    return (
        _fault_of_trial(record)
        or _fault_of_values("fact", record.facts, FACTS)
        or _fault_of_values("telemetry", record.telemetry, TELEMETRY_TYPES)
        or _fault_of_curves(record)
    )


def _fault_of_trial(record: Record) -> str | None:
    try:
        trial = trial_of(record.trial)
    except (SuiteError, TypeError) as error:
        return f"its trial can't be: {error}"
    is_named_so = trial.key == record.key and trial.content == record.trial
    return None if is_named_so else "its settings are not those of its key"


def _fault_of_values(kind: str, values: Mapping[str, Any], hints: Mapping[str, Any]) -> str | None:
    """A value of a wrong type. One that this version doesn't know is of another, and is shown, no more."""
    for name, value in values.items():
        hint = hints.get(name, float | None if kind == "fact" and name.startswith(GUESS) else Value)
        is_too_small = type(value) is int and value < (name in POSITIVE) and name in hints
        if is_too_small or not fits(value, hint):
            return f"its {kind} {shown(name)} is {shown(value)}"
    return None


def _fault_of_curves(record: Record) -> str | None:
    for name, curve in record.curves.items():
        if not (name.isprintable() and _is_curve(curve)):
            return f"its curve {shown(name)} is none"
    if record.outcome == TRAINED and TRAIN in record.trial:
        return None if {"fail_step", "outcomes"} <= record.facts.keys() else "it says nothing of its outcomes"
    if record.outcome == TRAINED:
        if "fail_step" not in record.facts or "train.loss" not in record.curves:
            return "it says nothing of its loss"
        loss = record.curves["train.loss"]["value"]
        if record.facts["fail_step"] is None and None in (loss[0], loss[-1]):
            return "its loss is missing"
    return None


def _is_curve(curve: Mapping[str, Sequence[Any]]) -> bool:
    """Whether a curve has steps and as many values, at least one of each."""
    if curve.keys() != {"step", "value"}:
        return False
    steps: Sequence[int] = curve["step"]
    values = curve["value"]
    if not (0 < len(steps) == len(values) and fits(steps, STEPS) and fits(values, VALUES)):
        return False
    return min(steps) >= 0 and max(steps) < 2**31


def read_records(results_dir: ResultsDir, keys: Iterable[str]) -> tuple[dict[str, Record], list[DamageError]]:
    """The records of these trials, as far as they exist, and what is wrong with those that can't be read."""
    records: dict[str, Record] = {}
    damaged = []
    for key in keys:
        try:
            records[key] = read_record(results_dir.record(key))
        except FileNotFoundError:
            continue
        except NewerSchemaError:
            raise
        except DamageError as error:
            damaged.append(error)
    return records, damaged


def write_manifest(results_dir: ResultsDir, manifest: Manifest) -> None:
    """Write suite.json: the suite as it was resolved, its cohorts, and the machine that it runs on."""
    write_atomically(results_dir.manifest, dump_checked_json({"schema": SCHEMA, **to_json(manifest)}))


def create_manifest(results_dir: ResultsDir, manifest: Manifest) -> bool:
    """Write the first suite.json; false where there is one."""
    return create_atomically(results_dir.manifest, dump_checked_json({"schema": SCHEMA, **to_json(manifest)}))


def read_manifest(results_dir: ResultsDir) -> Manifest | None:
    """What suite.json holds, or None where nothing has run yet; DamageError where it is damaged or newer."""
    path = results_dir.manifest
    try:
        return from_json(_require_current_schema(load_checked_json(path), path), path)
    except FileNotFoundError:
        return None


def _require_current_schema(content: dict[str, Any], path: Path) -> dict[str, Any]:
    schema = content.pop("schema", None)
    if type(schema) is int and schema > SCHEMA:
        raise NewerSchemaError(
            f"{path} has schema {schema}, this version reads {SCHEMA}; use the version that wrote it"
        )
    if schema != SCHEMA:
        raise DamageError(
            f"{path} has schema {shown(schema)}, this version reads {SCHEMA}; use the version that wrote it"
        )
    return content
