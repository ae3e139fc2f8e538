"""Tidy tables: a deterministic merge of the records, the same bytes however often a run was interrupted."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from harness.errors import DamageError, UsageError
from harness.io import read_bytes
from harness.spec.manifest import Manifest, check_settings, measured_of
from harness.spec.measured import CLASSIFICATION, GUESS, LOSS, SPLITS, Aim, Measured, Target, measured
from harness.spec.metric import MetricSpec
from harness.spec.own_training.own_trial import TRAIN, AnyTrial, names_of
from harness.spec.trial import axis_types
from harness.storage import merge_cache
from harness.storage.csv_files import MAX_TABLE_BYTES, csv_bytes, read_table, write_if_changed
from harness.storage.records import (
    FACTS,
    FOREIGN,
    TELEMETRY,
    TELEMETRY_TYPES,
    Record,
    ResultsDir,
    read_manifest,
    read_records,
    status_of,
)

STATUS = {"status": "str", "fail_step": "Int64"}  # the first columns after the settings in tables of own training
KNOWN_BEFORE = {  # column of trials.csv after the axes -> its type; then come those of metrics
    "train_examples": "Int64",
    "test_examples": "Int64",
    "classes": "Int64",
    "parameters": "Int64",
    **STATUS,
    "initial_loss": "float64",
}
FOUND_IN_CURVES = {"best_step": "Int64", "steps_to_target": "Int64"}


def outcome_columns(of_suite: Measured) -> dict[str, str]:
    """The columns of trials.csv after the axes, in a suite that measures these metrics -> their types."""
    if of_suite.is_own:
        return {**STATUS, **dict.fromkeys(of_suite.columns, "float64")}
    return {**KNOWN_BEFORE, **dict.fromkeys(of_suite.columns, "float64"), **FOUND_IN_CURVES}


OUTCOMES = outcome_columns(measured([CLASSIFICATION], [], Aim()))  # of a suite of classification
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
AXES_IN_FACTS = ("steps", "norm_batch", "sync_bn_impl")  # where what was trained is known better
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


def write_tables(results_dir: ResultsDir, trials: Sequence[AnyTrial], of_suite: Measured) -> list[DamageError]:
    """Write trials.csv, curves.parquet and telemetry.csv from the records; return what could not be read of these.

    Rows stand in the order of the suite. A trial without a record is `interrupted`: the run stopped before its end.
    """
    keys = [trial.key for trial in trials]
    state = merge_cache.fingerprint_of(results_dir, keys, of_suite, _columns(of_suite))
    if merge_cache.outcomes_if_merged(results_dir, state, TABLES) is not None:
        return []
    records, damaged = read_records(results_dir, keys)
    finished = [records[key] for key in keys if key in records]
    columns = [*TELEMETRY, *([FOREIGN] if any(FOREIGN in record.telemetry for record in finished) else [])]
    telemetry = pd.DataFrame([{**r.telemetry, "key": r.key} for r in finished], columns=columns, dtype="object")
    tables = {
        "trials.csv": csv_bytes(trials_table(results_dir, trials, records, of_suite)),
        "curves.parquet": _parquet(curves_table(finished)),
        "telemetry.csv": csv_bytes(telemetry),
    }
    for name, data in tables.items():
        write_if_changed(results_dir.root / name, data)
    if not damaged:
        merge_cache.save_cache(results_dir, state, records, tables)
    return damaged


def trials_table(
    results_dir: ResultsDir, trials: Sequence[AnyTrial], records: Mapping[str, Record], of_suite: Measured
) -> pd.DataFrame:
    """The table of these trials as the records have them; it is written nowhere."""
    suite = results_dir.root.name
    columns = tuple(outcome_columns(of_suite))
    rows = [_row(suite, trial, records.get(trial.key), columns, of_suite) for trial in trials]
    return _typed(pd.DataFrame(rows), of_suite)


def read_outcomes(
    results_dir: ResultsDir, keys: Sequence[str], of_suite: Measured
) -> tuple[dict[str, str], list[DamageError]]:
    """How those of these trials ended that have a record, and what is wrong with records that can't be read."""
    cached = merge_cache.outcomes_if_merged(
        results_dir, merge_cache.fingerprint_of(results_dir, keys, of_suite, _columns(of_suite)), TABLES
    )
    if cached is not None:
        return cached, []
    records, damaged = read_records(results_dir, keys)
    return {key: record.outcome for key, record in records.items()}, damaged


def outcomes_of(trials: pd.DataFrame) -> list[str]:
    """The columns of a table of trials that say what came of them, and not what they are."""
    columns = [str(column) for column in trials]
    if TRAIN in columns:
        return columns[columns.index("status") :]
    return [column for column in columns if column not in ("suite", "key", *axis_types())]


def read_results(folder: str | Path) -> Results:
    """The tables of a results folder, as they were last written."""
    results_dir = ResultsDir(Path(folder))
    manifest = read_manifest(results_dir)
    if manifest is None:
        raise UsageError(f"no results in {folder}; `python -m harness run SUITE` makes some")
    check_settings(manifest, results_dir.manifest)
    if manifest.tables:
        merge_cache.require_as_published(results_dir, manifest.tables)
    try:
        return Results(
            folder=results_dir.root,
            manifest=manifest,
            trials=read_trials(results_dir.root, measured_of(manifest)),
            curves=_read_curves(results_dir.root / "curves.parquet"),
            telemetry=_read_telemetry(results_dir.root / "telemetry.csv"),
        )
    except FileNotFoundError as error:
        raise DamageError(f"{error.filename} is missing; `python -m harness report SUITE` writes it again") from error


def _row(
    suite: str, trial: AnyTrial, record: Record | None, columns: Sequence[str], of_suite: Measured
) -> dict[str, Any]:
    row = {"suite": suite, "key": trial.key, **{name: getattr(trial, name) for name in names_of(trial)}}
    if record is None:
        return {**row, **dict.fromkeys(columns), "status": "interrupted"}
    facts = {name: record.facts[name] for name in (*AXES_IN_FACTS, *columns) if name in record.facts and _is_fact(name)}
    metrics = of_suite.of(trial)
    # In a suite of several tasks a target may be of a metric that this one doesn't have.
    target = of_suite.target if of_suite.target and of_suite.target.metric in metrics else None
    found = record.facts.get("outcomes", {}) if of_suite.is_own else _final(record, metrics, target)
    outcomes = {**dict.fromkeys(columns), **facts, **{name: found[name] for name in columns if name in found}}
    return {**row, **outcomes, "status": status_of(record, outcomes, target)}


def _is_fact(column: str) -> bool:
    """Whether a column holds a fact: a record may have others that are called like what is found in another way."""
    return column in FACTS or column.startswith(GUESS)


def _final(record: Record, metrics: Mapping[str, MetricSpec], target: Target | None) -> dict[str, Any]:
    """What the curves of a trial come to; it is best where the first of its metrics is."""
    last = {name: curve["value"][-1] for name, curve in record.curves.items()}
    judged_by, spec = next(iter(metrics.items()))
    sign = 1 if spec.higher_is_better else -1
    seen = _known_points(record, f"val.{judged_by}")
    reached = (
        [step for step, value in _known_points(record, f"val.{target.metric}") if target.is_reached(value)]
        if target
        else []
    )
    return {
        "initial_loss": record.curves["train.loss"]["value"][0] if "train.loss" in record.curves else None,
        **{f"{split}_{metric}": last.get(f"{split}.{metric}") for split in SPLITS for metric in (LOSS, *metrics)},
        "best_step": max(seen, key=lambda point: sign * point[1])[0] if seen else None,
        "steps_to_target": reached[0] if reached else None,
    }


def _known_points(record: Record, name: str) -> list[tuple[int, float]]:
    """The steps and values of a curve, without the values that are missing."""
    curve = record.curves.get(name, {"step": [], "value": []})
    points = zip(curve["step"], curve["value"], strict=True)
    return [(step, value) for step, value in points if value is not None]


def _typed(frame: pd.DataFrame, of_suite: Measured) -> pd.DataFrame:
    """The columns of trials.csv in their order and their types; whole numbers stay whole where some are missing."""
    kinds = _kinds(of_suite)
    return frame.reindex(columns=list(kinds)).astype(kinds)


def _kinds(of_suite: Measured) -> dict[str, str]:
    """The columns of trials.csv in their order -> their types."""
    axes = {axis: _dtype(kinds) for axis, kinds in of_suite.axes.items()}
    return {"suite": "str", "key": "str", **axes, **outcome_columns(of_suite)}


def _columns(of_suite: Measured) -> list[str]:
    """All columns that this version writes: another version's tables are not its own."""
    return [*_kinds(of_suite), *TELEMETRY, *CURVES.names]


def _dtype(kinds: tuple[type, ...]) -> str:
    if str in kinds:
        return "object" if float in kinds else "str"
    return "bool" if bool in kinds else "float64" if float in kinds else "Int64"


def curves_table(records: Sequence[Record]) -> pa.Table:
    """The curves of these records, a row for each point."""
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
    return pa.table(columns, schema=CURVES)


def _parquet(curves: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(curves, sink, compression="zstd", store_schema=False)
    return sink.getvalue()


def read_trials(folder: Path, of_suite: Measured) -> pd.DataFrame:
    """The table of trials in a results folder, as it was last written."""
    path, kinds = folder / "trials.csv", _kinds(of_suite)
    frame = read_table(path, kinds)
    if frame[["key", "status"]].isna().any(axis=None):
        raise DamageError(f"{path} has a row without key or status")
    for column, kind in kinds.items():
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
