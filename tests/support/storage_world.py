"""What a run does to its results folder, without the training: every kind of file, written as a run writes it."""

from collections.abc import Callable
from pathlib import Path

import torch

from harness.errors import DamageError
from harness.spec.trial import Trial
from harness.storage.containers import discard
from harness.storage.records import ResultsDir, read_manifest, read_record, write_manifest, write_record
from harness.storage.tables import write_tables
from harness.training import checkpoint
from harness.training.checkpoint import Snapshot
from tests.support.manifests import a_manifest
from tests.support.records import a_record, of_classification
from tests.support.strategies import a_trial

TRIALS = [a_trial(seed=seed) for seed in range(3)]
STEPS = 3  # after each of them a snapshot is written
COHORT = "cohort"
MANIFEST = a_manifest(trials=len(TRIALS))


def results_of(root: Path) -> ResultsDir:
    return ResultsDir(root / "suite")


def snapshot_at(step: int) -> Snapshot:
    return Snapshot({"step": step, "code": "x"}, {"weight": torch.full((2, 3), float(step))})


def play(root: Path, acknowledge: Callable[[str], None] = lambda name: None) -> None:
    """Go on from what is there until all is done; say the name of each thing once it can't be lost any more."""
    results_dir = results_of(root)
    if read_manifest(results_dir) is None:
        write_manifest(results_dir, MANIFEST)
    acknowledge("manifest")
    missing = [trial for trial in TRIALS if not _has_record(results_dir, trial)]
    if missing:
        snapshot, _ = checkpoint.newest(results_dir.checkpoints, COHORT, {"code": "x"})
        for step in range(snapshot.metadata["step"] + 1 if snapshot else 1, STEPS + 1):
            checkpoint.save(results_dir.checkpoints, COHORT, snapshot_at(step))
            acknowledge(f"snapshot {step}")
    for trial in missing:
        write_record(results_dir, a_record(trial))
        acknowledge(f"record {trial.key}")
    discard(results_dir.checkpoints, COHORT)
    assert write_tables(results_dir, TRIALS, of_classification(0.5)) == []
    acknowledge("tables")


def _has_record(results_dir: ResultsDir, trial: Trial) -> bool:
    try:
        return read_record(results_dir.record(trial.key)).key == trial.key
    except (FileNotFoundError, DamageError):
        return False


def tables_in(root: Path) -> dict[str, bytes]:
    """The tables that are there."""
    names = ("trials.csv", "curves.parquet", "telemetry.csv")
    paths = {name: results_of(root).root / name for name in names}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


def check(root: Path, acknowledged: set[str], tables: dict[str, bytes] | None) -> None:
    """No file is torn, and all that was acknowledged is there: whatever happened, but damage to the disk itself.

    None for tables that may lack a row, since its record could not be read.
    """
    results_dir = results_of(root)
    manifest = read_manifest(results_dir)
    assert manifest == MANIFEST or (manifest is None and "manifest" not in acknowledged)
    records = {path.stem: read_record(path) for path in results_dir.records.glob("*.json")}
    assert records == {trial.key: a_record(trial) for trial in TRIALS if trial.key in records}
    assert {name.removeprefix("record ") for name in acknowledged if name.startswith("record ")} <= set(records)
    steps = []
    for path in results_dir.checkpoints.glob("*.snapshot"):
        snapshot = checkpoint.load(path)
        steps.append(snapshot.metadata["step"])
        assert torch.equal(snapshot.tensors["weight"], snapshot_at(steps[-1]).tensors["weight"])
    saved = [int(name.removeprefix("snapshot ")) for name in acknowledged if name.startswith("snapshot ")]
    assert len(records) == len(TRIALS) or max(steps, default=0) >= max(saved, default=0)
    if tables is None:
        return
    found = tables_in(root)
    assert found == {name: tables[name] for name in found}
    assert "tables" not in acknowledged or set(found) == set(tables)
