"""The results folder of a run: earlier results archived, suite.json brought up to date."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import MachineError
from harness.execution.messages import PreflightResult
from harness.execution.run_plan import RunPlan
from harness.spec.loader import SuiteFile
from harness.spec.manifest import describe, with_history
from harness.storage.records import ResultsDir, read_manifest, write_manifest


def archive(results_dir: ResultsDir) -> Path | None:
    """Move what is in the results folder into a new one beside it; that folder, None where there was nothing."""
    target = results_dir.root.with_name(f"{results_dir.root.name}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    paths = [path for path in results_dir.root.iterdir() if path.name != ".lock"]
    if not paths:
        return None
    try:
        target.mkdir()
        for path in paths:
            path.rename(target / path.name)
    except OSError as error:
        raise MachineError(f"can't archive {results_dir.root}: {error.strerror} (errno {error.errno})") from error
    return target


def update_manifest(
    suite: SuiteFile, results_dir: ResultsDir, plan: RunPlan, preflight: PreflightResult | None
) -> Mapping[str, Any]:
    """Write suite.json where it has changed; how the environment differs from that of earlier runs, name by name."""
    before = read_manifest(results_dir)
    cohorts = [[trial.key for trial in cohort.trials] for cohort in plan.cohorts]
    manifest = with_history(describe(suite, plan.trials), before, cohorts=cohorts, results=plan.results)
    changes: dict[str, Any] = {}
    if preflight is not None:
        manifest |= {"device": preflight.device, "fingerprint": preflight.fingerprint, "machine": preflight.machine}
        if before:
            changes = _changes(before["fingerprint"], preflight.fingerprint)
    if manifest != before:
        write_manifest(results_dir, manifest)
    return changes


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    return {name: (before.get(name), value) for name, value in now.items() if before.get(name) != value}
