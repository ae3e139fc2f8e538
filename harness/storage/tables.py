"""Tidy tables: a deterministic merge of the records, the same bytes however often a run was interrupted."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from harness.errors import DamageError, UsageError
from harness.io import read_bytes, write_atomically
from harness.spec.manifest import Manifest, check_settings
from harness.spec.trial import Trial, axis_types
from harness.storage import merge_cache
from harness.storage.csv_files import MAX_TABLE_BYTES, csv_bytes, read_table
from harness.storage.records import (
    FACTS,
    FOREIGN,
    TELEMETRY,
    TELEMETRY_TYPES,
    TRAINED,
    Record,
    ResultsDir,
    failure,
    read_manifest,
    read_records,
)

OUTCOMES = {  # column of trials.csv after the axes -> its type
    "train_examples": "Int64",
    "test_examples": "Int64",
    "classes": "Int64",
    "parameters": "Int64",
    "status": "str",
    "fail_step": "Int64",
    "initial_loss": "float64",
    "train_loss": "float64",
    "val_loss": "float64",
    "test_loss": "float64",
    "train_accuracy": "float64",
    "val_accuracy": "float64",
    "test_accuracy": "float64",
    "best_step": "Int64",
    "steps_to_target": "Int64",
}
CURVES = pa.schema(
    [
        ("key", pa.string()),
        ("step", pa.int32()),
        ("epoch", pa.float64()),
        ("split", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
    ]
)
FACT_COLUMNS = (
    *OUTCOMES,
    "steps",
    "norm_batch",
    "sync_bn_impl",
)  # also of axes, where what was trained is known better
TABLES = ("trials.csv", "curves.parquet", "telemetry.csv")
CURVE_ROWS_PER_BYTE = 4  # of a Parquet file, at most: trained losses are hardly alike, a bomb's values are
MAX_SMALL_ROWS = 1_000_000  # may stand in any file, however small


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All that a run has found out: suite.json, and the tables as data frames."""

    folder: Path
    manifest: Manifest
    trials: pd.DataFrame
    curves: pd.DataFrame
    telemetry: pd.DataFrame


def write_tables(results_dir: ResultsDir, trials: Sequence[Trial], target_accuracy: float | None) -> list[DamageError]:
    """Write trials.csv, curves.parquet and telemetry.csv from the records; return what could not be read of these.

    Rows stand in the order of the suite. A trial without a record is `interrupted`: the run stopped before its end.
    """
    keys = [trial.key for trial in trials]
    state = merge_cache.fingerprint_of(results_dir, keys, target_accuracy, _columns())
    if merge_cache.outcomes_if_merged(results_dir, state, TABLES) is not None:
        return []
    records, damaged = read_records(results_dir, keys)
    finished = [records[key] for key in keys if key in records]
    columns = [*TELEMETRY, *([FOREIGN] if any(FOREIGN in record.telemetry for record in finished) else [])]
    telemetry = pd.DataFrame([{**r.telemetry, "key": r.key} for r in finished], columns=columns, dtype="object")
    tables = {
        "trials.csv": csv_bytes(_trials_table(results_dir, trials, records, target_accuracy)),
        "curves.parquet": _parquet(finished),
        "telemetry.csv": csv_bytes(telemetry),
    }
    for name, data in tables.items():
        _write_if_changed(results_dir.root / name, data)
    if not damaged:
        merge_cache.save_cache(results_dir, state, records, tables)
    return damaged


def current_trials(
    results_dir: ResultsDir, trials: Sequence[Trial], target_accuracy: float | None
) -> tuple[pd.DataFrame, list[DamageError]]:
    """The table of trials as the records are now, which is written nowhere, and what could not be read of these."""
    records, damaged = read_records(results_dir, [trial.key for trial in trials])
    return _trials_table(results_dir, trials, records, target_accuracy), damaged


def _trials_table(
    results_dir: ResultsDir, trials: Sequence[Trial], records: Mapping[str, Record], target_accuracy: float | None
) -> pd.DataFrame:
    suite = results_dir.root.name
    return _typed(
        pd.DataFrame([_row(suite, trial.key, trial, records.get(trial.key), target_accuracy) for trial in trials])
    )


def read_outcomes(
    results_dir: ResultsDir, keys: Sequence[str], target_accuracy: float | None
) -> tuple[dict[str, str], list[DamageError]]:
    """How those of these trials ended that have a record, and what is wrong with records that can't be read."""
    cached = merge_cache.outcomes_if_merged(
        results_dir, merge_cache.fingerprint_of(results_dir, keys, target_accuracy, _columns()), TABLES
    )
    if cached is not None:
        return cached, []
    records, damaged = read_records(results_dir, keys)
    return {key: record.outcome for key, record in records.items()}, damaged


def read_results(folder: str | Path) -> Results:
    """The tables of a results folder, as they were last written."""
    results_dir = ResultsDir(Path(folder))
    manifest = read_manifest(results_dir)
    if manifest is None:
        raise UsageError(f"no results in {folder}; `python -m harness run SUITE` makes some")
    check_settings(manifest, results_dir.manifest)
    try:
        return Results(
            folder=results_dir.root,
            manifest=manifest,
            trials=read_trials(results_dir.root),
            curves=_read_curves(results_dir.root / "curves.parquet"),
            telemetry=_read_telemetry(results_dir.root / "telemetry.csv"),
        )
    except FileNotFoundError as error:
        raise DamageError(f"{error.filename} is missing; `python -m harness report SUITE` writes it again") from error


def status_of(record: Record, outcomes: Mapping[str, Any], target_accuracy: float | None) -> str:
    """How a trial ended: the first of nonfinite, no_better_than_init, below_target, ok that is true of it."""
    if record.outcome != TRAINED:
        return record.outcome
    if failed := failure(record):
        return failed
    accuracy = outcomes["test_accuracy"]  # missing where the test loss alone is not finite
    if target_accuracy is not None and (accuracy is None or accuracy < target_accuracy):
        return "below_target"
    return "ok"


def _row(suite: str, key: str, trial: Trial, record: Record | None, target_accuracy: float | None) -> dict[str, Any]:
    row = {"suite": suite, "key": key, **{f.name: getattr(trial, f.name) for f in fields(trial)}}
    if record is None:
        return {**row, **dict.fromkeys(OUTCOMES), "status": "interrupted"}
    facts = {name: value for name, value in record.facts.items() if name in FACTS and name in FACT_COLUMNS}
    outcomes = {**dict.fromkeys(OUTCOMES), **facts, **_final(record, target_accuracy)}
    return {**row, **outcomes, "status": status_of(record, outcomes, target_accuracy)}


def _final(record: Record, target_accuracy: float | None) -> dict[str, Any]:
    """What the curves of a trial come to."""
    last = {name: curve["value"][-1] for name, curve in record.curves.items()}
    accuracy = record.curves.get("val.accuracy", {"step": [], "value": []})
    seen = [(step, value) for step, value in zip(accuracy["step"], accuracy["value"], strict=True) if value is not None]
    return {
        "initial_loss": record.curves["train.loss"]["value"][0] if "train.loss" in record.curves else None,
        **{
            f"{split}_{metric}": last.get(f"{split}.{metric}")
            for split in ("train", "val", "test")
            for metric in _METRICS
        },
        "best_step": max(seen, key=lambda point: point[1])[0] if seen else None,
        "steps_to_target": next(
            (step for step, value in seen if target_accuracy is not None and value >= target_accuracy), None
        ),
    }


_METRICS = ("loss", "accuracy")


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns of trials.csv in their order and their types; whole numbers stay whole where some are missing."""
    kinds = _kinds()
    return frame.reindex(columns=list(kinds)).astype(kinds)


def _kinds() -> dict[str, str]:
    """The columns of trials.csv in their order -> their types."""
    return {"suite": "str", "key": "str", **{axis: _dtype(kinds) for axis, kinds in axis_types().items()}, **OUTCOMES}


def _columns() -> list[str]:
    """All columns that this version writes: another version's tables are not its own."""
    return [*_kinds(), *TELEMETRY, *CURVES.names]


def _dtype(kinds: tuple[type, ...]) -> str:
    if str in kinds:
        return "object" if float in kinds else "str"
    return "bool" if bool in kinds else "float64" if float in kinds else "Int64"


def _parquet(records: Sequence[Record]) -> bytes:
    columns: dict[str, list[Any]] = {name: [] for name in CURVES.names}
    for record in records:
        per_epoch = record.facts.get("steps_per_epoch") or math.nan
        for name, curve in record.curves.items():
            split, _, metric = name.partition(".")
            count = len(curve["step"])
            columns["key"] += [record.key] * count
            columns["step"] += curve["step"]
            columns["epoch"] += [step / per_epoch for step in curve["step"]]
            columns["split"] += [split] * count
            columns["metric"] += [metric] * count
            columns["value"] += curve["value"]
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, schema=CURVES), sink, compression="zstd", store_schema=False)
    return sink.getvalue()


def read_trials(folder: Path) -> pd.DataFrame:
    """The table of trials in a results folder, as it was last written."""
    path = folder / "trials.csv"
    frame = read_table(path, _kinds())
    if frame[["key", "status"]].isna().any(axis=None):
        raise DamageError(f"{path} has a row without key or status")
    for column, kind in _kinds().items():
        if kind == "str":
            frame[column] = frame[column].fillna("")
        if kind == "object":
            frame[column] = frame[column].map(_number).astype("object")
    return frame


def _read_telemetry(path: Path) -> pd.DataFrame:
    """The table of telemetry; its texts are text whatever they look like, and its numbers are numbers."""
    dtypes = {name: "str" if hint in (str, str | None) else None for name, hint in TELEMETRY_TYPES.items()}
    frame = read_table(path, dtypes, optional=[FOREIGN])
    for name, hint in TELEMETRY.items():
        if len(frame) and hint in (int | None, float | None) and not pd.api.types.is_numeric_dtype(frame[name]):
            raise DamageError(f"{path} holds more than numbers in its column {name}")
    return frame


def _number(text: str) -> float | str:
    """The number that a text is; otherwise the text."""
    try:
        return float(text)
    except ValueError:
        return text


def _read_curves(path: Path) -> pd.DataFrame:
    try:
        data = read_bytes(path, max_bytes=MAX_TABLE_BYTES)
        file = pq.ParquetFile(io.BytesIO(data))
        if not file.schema_arrow.equals(CURVES):
            raise DamageError(f"{path} holds no curves: its columns are not {', '.join(CURVES.names)} with their types")
        rows, most = file.metadata.num_rows, MAX_SMALL_ROWS + CURVE_ROWS_PER_BYTE * len(data)
        if rows > most:
            raise DamageError(f"{path} claims {rows} rows, more than the {most} that a file of its size can hold")
        curves: pd.DataFrame = file.read().to_pandas()
        return curves
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamageError(f"{path} is not a Parquet file: {error}") from error


def _write_if_changed(path: Path, data: bytes) -> None:
    """Leave a table alone that says the same already, so that what is made from it need not be made again."""
    try:
        if read_bytes(path, max_bytes=MAX_TABLE_BYTES) == data:
            return
    except (FileNotFoundError, DamageError):
        pass
    write_atomically(path, data)
