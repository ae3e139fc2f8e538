"""What the tables were last merged from, so that ten thousand records are not read again to find that none is new.

A record counts as the same while its file is the same to the file system: size, inode, and times of the last change. Of
the tables, which are what is read, the content counts.
This cache is disposable: without it all records are read.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from harness.errors import DamageError, MachineError
from harness.io import dump_checked_json, load_checked_json, read_bytes, write_atomically
from harness.storage.csv_files import MAX_TABLE_BYTES
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


def save_cache(
    results_dir: ResultsDir, fingerprint: str, records: Mapping[str, Record], tables: Mapping[str, bytes]
) -> None:
    """Note what the tables were merged from, what they hold, and how each trial ended.

    The checksums are those of what was written, and not of what a disk has made of it.
    """
    checksums = {name: hashlib.sha256(data).hexdigest() for name, data in tables.items()}
    outcomes = {key: record.outcome for key, record in records.items()}
    content = {"of": fingerprint, "tables": checksums, "outcomes": outcomes}
    with suppress(MachineError):  # it saves time, no more
        write_atomically(results_dir.root / FILE_NAME, dump_checked_json(content))


def outcomes_if_merged(results_dir: ResultsDir, fingerprint: str, tables: Iterable[str]) -> dict[str, str] | None:
    """How each trial ended, where the tables are made from this state and as they were written; else None."""
    try:
        cache = load_checked_json(results_dir.root / FILE_NAME)
        if (cache["of"], cache["tables"]) == (fingerprint, _table_checksums(results_dir, tables)):
            return dict(cache["outcomes"])
    except (FileNotFoundError, DamageError, KeyError, TypeError, ValueError):
        pass
    return None


def find_changed_tables(results_dir: ResultsDir, names: Iterable[str]) -> dict[str, bool]:
    """For each table of the last merge that is there, whether it is no more what was written.

    Empty where the merge is not known.
    """
    try:
        checksums = dict(load_checked_json(results_dir.root / FILE_NAME)["tables"])
    except (FileNotFoundError, DamageError, KeyError, TypeError, ValueError):
        return {}
    changed = {}
    for name in names:
        try:
            changed[name] = _table_checksums(results_dir, [name])[name] != checksums.get(name)
        except FileNotFoundError:
            continue
        except DamageError:
            changed[name] = True
    return changed


def _table_checksums(results_dir: ResultsDir, names: Iterable[str]) -> dict[str, str]:
    paths = {name: results_dir.root / name for name in names}
    return {
        name: hashlib.sha256(read_bytes(path, max_bytes=MAX_TABLE_BYTES)).hexdigest() for name, path in paths.items()
    }


def _stat_identity(info: os.stat_result) -> list[int]:
    return [info.st_size, info.st_ino, info.st_mtime_ns, info.st_ctime_ns]
