"""What the tables were last merged from, so that ten thousand records are not read again to find that none is new.

A record counts as the same while its file is the same to the file system: size, inode, and times of the last change.
This cache is disposable: without it all records are read.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from harness.errors import DamageError, MachineError
from harness.io import dump_checked_json, load_checked_json, write_atomically
from harness.storage.records import SCHEMA, Record, ResultsDir

FILE_NAME = ".merged"


def fingerprint_of(
    results_dir: ResultsDir, keys: Sequence[str], target_accuracy: float | None, columns: Sequence[str]
) -> str:
    """A digest of what the tables are made from, without reading it, and of the columns that are made from it."""
    try:
        with os.scandir(results_dir.records) as entries:
            files = {
                entry.name.removesuffix(".json"): _stat_identity(entry.stat(follow_symlinks=False)) for entry in entries
            }
    except FileNotFoundError:
        files = {}
    content = [SCHEMA, target_accuracy, list(columns), [(key, files.get(key)) for key in keys]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def save_cache(results_dir: ResultsDir, fingerprint: str, records: Mapping[str, Record], tables: Iterable[str]) -> None:
    """Note what the tables were merged from, and how each trial ended."""
    outcomes = {key: record.outcome for key, record in records.items()}
    with suppress(MachineError):  # it saves time, no more
        write_atomically(
            results_dir.root / FILE_NAME,
            dump_checked_json(
                {"of": fingerprint, "tables": _table_identities(results_dir, tables), "outcomes": outcomes}
            ),
        )


def outcomes_if_merged(results_dir: ResultsDir, fingerprint: str, tables: Iterable[str]) -> dict[str, str] | None:
    """How each trial ended, where the tables are made from this state and as they were written; else None."""
    try:
        cache = load_checked_json(results_dir.root / FILE_NAME)
        if (cache["of"], cache["tables"]) == (fingerprint, _table_identities(results_dir, tables)):
            return dict(cache["outcomes"])
    except (FileNotFoundError, DamageError, KeyError, TypeError, ValueError):
        pass
    return None


def _table_identities(results_dir: ResultsDir, names: Iterable[str]) -> dict[str, list[int]]:
    return {name: _stat_identity((results_dir.root / name).stat(follow_symlinks=False)) for name in names}


def _stat_identity(info: os.stat_result) -> list[int]:
    return [info.st_size, info.st_ino, info.st_mtime_ns, info.st_ctime_ns]
