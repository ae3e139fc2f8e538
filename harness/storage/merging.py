"""Results of one suite that were made in several folders, joined: what is equal is kept once, what contradicts is kept
apart.

Any folder may be a stranger's. Only files that the trials of the suite can have are looked at, each under the name that
it must have there; links are not followed, and what is damaged is left out and named.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import DamageError, NewerSchemaError
from harness.io import read_bytes, write_atomically
from harness.spec.manifest import Manifest, measured_of
from harness.spec.own_code.data_files import drawn_name
from harness.spec.own_training.own_trial import AnyTrial
from harness.spec.trial import Trial
from harness.storage.containers import read_sealed
from harness.storage.folders import PLAIN_NAME
from harness.storage.records import (
    CHECKPOINT_KINDS,
    FOREIGN,
    NO_RESULT,
    TRAINED,
    Record,
    ResultsDir,
    dump_record,
    read_manifest,
    read_record,
    write_manifest,
    write_record,
)
from harness.storage.tables import write_tables

FOLDERS = ("records", "conflicts", "models", "data", "data/planes", "logs", "checkpoints")
CONFLICT = re.compile(r"([0-9a-f]{16})\.[0-9a-f]{8}\.json")
LOG = re.compile(r"([0-9a-f]{16})\.[0-9]{1,6}\.log")
MAX_FILE_BYTES = 2**26  # of a log, or of a picture of the plane
BITS_DEPEND_ON = ("machine", "cpu", "torch", "threads", "backend", "code_hash")  # members of telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedTrial:
    """What a merge has made of one trial."""

    key: str
    is_trained: bool  # whether it has a result now
    is_new: bool  # whether the merge has brought that
    n_equal: int  # folders that have this result
    conflict: str = ""  # which folders contradict each other, and what became of it
    faults: list[str] = field(default_factory=list)  # files that are damaged, and so left out


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedSuite:
    """What a merge has made of the results of one suite."""

    trials: list[MergedTrial]
    faults: list[str]  # files that are damaged, and so left out
    foreign: Mapping[Path, int]  # folder -> records in it of trials that the suite has not; they stay there

    @property
    def is_incomplete(self) -> bool:
        """Whether anything was left out that may be a result."""
        return bool(self.faults) or any(trial.conflict for trial in self.trials)


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of results, with the files whose names are not known beforehand."""

    results_dir: ResultsDir
    conflicts: Mapping[str, list[Path]]  # key -> results that an earlier merge has kept apart
    logs: Mapping[str, list[Path]]

    @classmethod
    def open(cls, root: Path) -> "Source":
        """The source in this folder; DamageError where parts of it are links."""
        for path in (root / name for name in FOLDERS):
            if path.is_symlink() or (path.exists() and not path.is_dir()):
                raise DamageError(f"{path} is no folder of its own, so it is not read; put a plain folder in its place")
        return cls(ResultsDir(root), _by_key(root / "conflicts", CONFLICT), _by_key(root / "logs", LOG))

    def files(self, key: str) -> Iterator[Path]:
        """What a trial may have besides its record."""
        yield from (self.results_dir.model(key, which) for which in CHECKPOINT_KINDS)
        yield self.results_dir.plane(key)
        yield from self.logs.get(key, [])


@dataclass(frozen=True, slots=True)
class Version:
    """What one source says of a trial."""

    record: Record
    source: Source


def merge_results(
    folders: Sequence[Path], target: ResultsDir, manifest: Manifest, trials: Sequence[AnyTrial]
) -> MergedSuite:
    """Bring what these folders know of the suite into the target, and write its tables.

    A result that the target has stays as it is. Otherwise a result enters where all folders that have one agree; where
    they don't, none does. The record of a trial comes last, so a merge that was killed goes on where it was.
    """
    others = [folder for folder in folders if folder != target.root]
    here, sources = Source.open(target.root), [Source.open(folder) for folder in others]
    if manifest != read_manifest(target):
        write_manifest(target, manifest)
    merged = [_merge_trial(trial, here, sources) for trial in trials]
    faults = [*(fault for trial in merged for fault in trial.faults), *_merge_data(others, target, trials)]
    write_tables(target, trials, measured_of(manifest))
    foreign = {folder: count for folder in others if (count := _count_foreign_records(folder, trials))}
    return MergedSuite(trials=merged, faults=faults, foreign=foreign)


def _merge_trial(trial: AnyTrial, here: Source, sources: Sequence[Source]) -> MergedTrial:
    faults: list[str] = []
    standing = _read_record(here.results_dir.record(trial.key), trial, faults)
    versions = [version for source in (here, *sources) for version in _versions(source, trial, faults)]
    results: dict[str, list[Version]] = {}
    for version in versions:
        if version.record.outcome == TRAINED:
            results.setdefault(_digest(version.record), []).append(version)
    kept, is_new = None, False
    if standing is not None and standing.outcome == TRAINED:
        kept = _digest(standing)
    elif len(results) == 1:
        kept, is_new = next(iter(results)), True
    for digest, contradicting in results.items():
        if digest != kept:
            _keep_apart(here.results_dir, digest, contradicting)
    # Where nobody has a result, what is known of the failure is worth keeping.
    chosen = sorted(results[kept] if kept else [] if results else versions, key=_precedence)
    for version in chosen:
        _bring_files(version.source, here.results_dir, trial.key, faults)
    if chosen and (is_new or standing is None):
        write_record(here.results_dir, chosen[0].record)
    return MergedTrial(
        key=trial.key,
        is_trained=kept is not None,
        is_new=is_new,
        n_equal=len(results[kept]) if kept else 0,
        conflict=_conflict(trial.key, results, is_decided=kept is not None) if len(results) > 1 else "",
        faults=faults,
    )


def _versions(source: Source, trial: AnyTrial, faults: list[str]) -> list[Version]:
    """What a source says of a trial: its result; without one, those that it keeps apart; without these, its failure."""
    record = _read_record(source.results_dir.record(trial.key), trial, faults)
    if record is not None and record.outcome == TRAINED:
        return [Version(record, source)]
    apart = [_read_record(path, trial, faults) for path in source.conflicts.get(trial.key, [])]
    return [Version(found, source) for found in (apart if any(apart) else [record]) if found is not None]


def _read_record(path: Path, trial: AnyTrial, faults: list[str]) -> Record | None:
    """The record of a trial, or None where there is none; a fault where it is not what training wrote."""
    try:
        return read_record(path, trial.key)
    except FileNotFoundError:
        return None
    except NewerSchemaError:
        raise
    except DamageError as error:
        if str(error) not in faults:
            faults.append(str(error))
        return None


def _digest(record: Record) -> str:
    """A digest of what is a result in a record: not when, where and how fast it was made."""
    content = [record.trial, record.outcome, record.facts, record.curves]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _precedence(version: Version) -> tuple[int, str, bytes]:
    """Which of several records of a trial is kept: the one that was finished first, wherever it lies."""
    record = version.record
    return (TRAINED, *NO_RESULT).index(record.outcome), str(record.telemetry.get("finished", "")), dump_record(record)


def _keep_apart(target: ResultsDir, digest: str, versions: Sequence[Version]) -> None:
    """Write a result that contradicts another beside the results, under a name that depends on nothing but itself."""
    first = min(versions, key=_precedence).record
    path = target.root / "conflicts" / f"{first.key}.{digest[:8]}.json"
    if not path.exists():
        write_atomically(path, dump_record(first))


def _conflict(key: str, results: Mapping[str, Sequence[Version]], *, is_decided: bool) -> str:
    """Which folders contradict each other on a trial, and whether that can be rounding."""
    roots = sorted({str(version.source.results_dir.root) for versions in results.values() for version in versions})
    first, *others = (made_with(version.record) for version, *_ in results.values())
    differing = [name.replace("_", " ") for name in first if any(other[name] != first[name] for other in others)]
    reason = f"made with another {', '.join(differing)}" if differing else "made alike, so bits should be equal"
    fate = "the one that stood here stays" if is_decided else "none of them counts"
    return f"trial {key}: {len(results)} different results in {', '.join(roots)} ({reason}); {fate}"


def made_with(record: Record) -> dict[str, Any]:
    """What bits depend on besides the trial, as far as a record has it."""
    names = (*BITS_DEPEND_ON, FOREIGN, *([] if record.trial.get("device") == "cpu" else ["device_name"]))
    return {name: record.telemetry.get(name) for name in names}


def _bring_files(source: Source, target: ResultsDir, key: str, faults: list[str]) -> None:
    """Copy what a trial has besides its record, as far as the target lacks it."""
    if source.results_dir == target:
        return
    for path in source.files(key):
        goal = target.root / path.relative_to(source.results_dir.root)
        if goal.is_symlink() or goal.exists():
            continue
        try:
            is_model = path.parent.name == "models"
            write_atomically(goal, read_sealed(path) if is_model else read_bytes(path, max_bytes=MAX_FILE_BYTES))
        except FileNotFoundError:
            continue
        except DamageError as error:
            faults.append(str(error))


def _merge_data(folders: Sequence[Path], target: ResultsDir, trials: Sequence[AnyTrial]) -> list[str]:
    """Bring the data that a report draws; what is damaged."""
    faults = []
    made_here = (trial for trial in trials if isinstance(trial, Trial))  # own training leaves none
    names = {drawn_name(trial.dataset, standardize=trial.standardize) for trial in made_here}
    for name in filter(PLAIN_NAME.fullmatch, sorted(names)):
        goal, found = target.root / "data" / f"{name}.npz", []
        for path in (folder / "data" / goal.name for folder in folders):
            try:
                found.append(read_bytes(path, max_bytes=MAX_FILE_BYTES))
            except FileNotFoundError:
                continue
            except DamageError as error:
                faults.append(str(error))
        if found and not (goal.is_symlink() or goal.exists()):
            write_atomically(goal, min(found))
    return faults


def _count_foreign_records(folder: Path, trials: Sequence[AnyTrial]) -> int:
    """How many records a folder has of trials that the suite has not."""
    keys = {trial.key for trial in trials}
    return sum(path.suffix == ".json" and path.stem not in keys for path in _entries(folder / "records"))


def _by_key(folder: Path, pattern: re.Pattern[str]) -> dict[str, list[Path]]:
    """The files of a folder whose names are of this pattern, by the key in it."""
    paths: dict[str, list[Path]] = {}
    for path in _entries(folder):
        if match := pattern.fullmatch(path.name):
            paths.setdefault(match[1], []).append(path)
    return paths


def _entries(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]  # noqa: PTH208
    except FileNotFoundError:
        return []
