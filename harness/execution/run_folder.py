"""The results folder of a run: earlier results archived, suite.json brought up to date."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import FAULT, BusyError, HarnessError, MachineError, RunAborted, error_line
from harness.execution.messages import PreflightResult
from harness.execution.run_plan import RunOptions, RunPlan
from harness.execution.stop_flag import INTERRUPTED, StopFlag
from harness.io import make_folder, move, remove_file, write_unsynced
from harness.spec.grids.grown import grown
from harness.spec.loader import SuiteFile
from harness.spec.manifest import Manifest, describe, with_history
from harness.spec.measured import measured_by
from harness.spec.selection import select
from harness.spec.trial import Value
from harness.storage.claims import Claims, claims_in, heartbeat, remove_claims
from harness.storage.owners import Owner, this_process
from harness.storage.records import ResultsDir, create_manifest, read_manifest, write_manifest
from harness.storage.running import SignOfLife, find_runs, sign_of_life
from harness.storage.tables import read_outcomes


def archive(results_dir: ResultsDir) -> Path | None:
    """Move what is in the results folder into a new one beside it; that folder, None where there was nothing."""
    target = results_dir.root.with_name(f"{results_dir.root.name}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    kept = (".lock", results_dir.claims.name, results_dir.running.name)
    paths = [path for path in results_dir.root.iterdir() if path.name not in kept]
    if not paths:
        return None
    try:
        make_folder(target, exist_ok=False)
        for path in paths:
            move(path, target / path.name)
    except OSError as error:
        raise MachineError(f"can't archive {results_dir.root}: {error.strerror} (errno {error.errno})") from error
    return target


def remove_records(suite: SuiteFile, results_dir: ResultsDir, options: RunOptions) -> None:
    """Remove the records of selected trials that ended as `options.retry` says, so that workers find none."""
    earlier = read_manifest(results_dir)
    if earlier is None or earlier.device is None:
        return
    selected = select(grown(suite, earlier).trials(device=earlier.device), options.only, options.shard)
    outcomes, _ = read_outcomes(results_dir, [trial.key for trial in selected], measured_by(selected, suite.suite.aim))
    for key in [key for key, outcome in outcomes.items() if outcome in options.retry]:
        remove_file(results_dir.record(key))


@contextmanager
def at_work(results_dir: ResultsDir, *, is_joined: bool) -> Iterator[tuple[SignOfLife, Claims | None]]:
    """What tells others that this run is at work; and its claims, where others share the work."""
    owner = this_process(is_joined=is_joined)
    if not is_joined:
        remove_claims(results_dir.claims)
    with (
        sign_of_life(results_dir, owner) as sign,
        claims_in(results_dir.claims, owner) as claims,
        heartbeat([sign, claims]),
    ):
        yield sign, claims if is_joined else None


@contextmanager
def noted(results_dir: ResultsDir, owner: Owner, command: str, stop: StopFlag) -> Iterator[dict[str, Any]]:
    """Keep last_run.json, which says how the last run ended: with what this is filled with, or with what went wrong.

    It is there to be looked at, by a script that has started the run; nothing reads it for truth.
    """
    start = {name: getattr(owner, name) for name in ("host", "pid", "job", "is_joined")}
    content = {"state": "running", "started": owner.since, **start, "command": command}
    ending: dict[str, Any] = {}
    _write_last_run(results_dir, content)
    try:
        yield ending
    except GeneratorExit:  # whoever watches the run has ended it, or has seen its end
        if not ending:
            ending.update(exit_code=stop.exit_code or None, reason=stop.reason or "it was left before its end")
        raise
    except (HarnessError, RunAborted) as error:
        ending.update(exit_code=error.exit_code, reason=str(error))
        raise
    except BaseException as error:
        code = INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAULT
        ending.update(exit_code=code, reason=error_line(error))
        raise
    finally:
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        _write_last_run(results_dir, {**content, "state": "ended", "finished": finished, **ending})


def _write_last_run(results_dir: ResultsDir, content: Mapping[str, Any]) -> None:
    with suppress(OSError):  # those that write results tell of a full disk
        write_unsynced(results_dir.last_run, json.dumps(content, indent=1).encode() + b"\n")


def make_manifest(
    suite: SuiteFile, earlier: Manifest | None, plan: RunPlan, preflight: PreflightResult | None, options: RunOptions
) -> Manifest:
    """The manifest of this run. One that joins others keeps to the machine that they were started on."""
    cohorts = [[trial.key for trial in cohort.trials] for cohort in plan.cohorts]
    manifest = with_history(
        describe(suite, plan.trials), earlier, cohorts=cohorts, results=plan.results, ended=plan.ended
    )
    manifest = replace(manifest, max_seeds=options.max_seeds or manifest.max_seeds)
    if preflight is None:
        return manifest
    if not (options.join and earlier and earlier.fingerprint):
        return replace(manifest, device=preflight.device, fingerprint=preflight.fingerprint, machine=preflight.machine)
    changes = "; ".join(environment_changes(earlier.fingerprint, preflight.fingerprint))
    if changes and not options.any_machine:
        raise MachineError(
            f"this machine is another than the one that {suite.name} was started on ({changes}), so bits may differ; "
            "join on one like it, or with --any-machine"
        )
    return replace(manifest, path=earlier.path)


def save_manifest(results_dir: ResultsDir, earlier: Manifest | None, manifest: Manifest, owner: Owner | None) -> bool:
    """Write the manifest where it differs from that of earlier runs; false where another run has written the first one.

    `owner` is that of this run where it has joined others. What these rely on, it can't change.
    """
    if manifest == earlier:
        return True
    if owner is None:
        write_manifest(results_dir, manifest)
        return True
    if earlier is None:
        return create_manifest(results_dir, manifest)
    others = [run for run in find_runs(results_dir) if run.owner != owner]
    if others:
        names = ", ".join(f.name for f in fields(Manifest) if getattr(manifest, f.name) != getattr(earlier, f.name))
        raise BusyError(
            f"this is another version of the suite than others are at work on ({others[0]}): its {names} differ; "
            "wait for them, or choose another --results"
        )
    write_manifest(results_dir, manifest)
    return True


def environment_changes(before: Mapping[str, Value], now: Mapping[str, Value]) -> list[str]:
    """How an environment differs from that of earlier runs, where that may move bits."""
    if not before:
        return []
    changed = {name: value for name, value in now.items() if before.get(name) != value}
    return [f"{name} was {before.get(name)}, is {value}" for name, value in changed.items()]
