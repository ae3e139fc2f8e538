"""What the tables were last merged from, so that ten thousand records are not read again to find that none is new.

A record counts as the same while its file is the same to the file system: size, inode, and times of the last change.
The stamp is disposable: without it all records are read.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from harness.errors import DamageError, MachineError
from harness.io import dump_sealed, load_sealed, write_atomically
from harness.storage.records import SCHEMA, Place, Record

NAME = ".merged"


def state(place: Place, keys: Sequence[str], target_accuracy: float | None, columns: Sequence[str]) -> str:
    """A digest of what the tables are made from, without reading it, and of the columns that are made from it."""
    try:
        with os.scandir(place.records) as entries:
            files = {
                entry.name.removesuffix(".json"): _identity(entry.stat(follow_symlinks=False)) for entry in entries
            }
    except FileNotFoundError:
        files = {}
    content = [SCHEMA, target_accuracy, list(columns), [(key, files.get(key)) for key in keys]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def put(place: Place, of: str, records: Mapping[str, Record], tables: Iterable[str]) -> None:
    """Note what the tables were merged from, and how each trial ended."""
    outcomes = {key: record.outcome for key, record in records.items()}
    with suppress(MachineError):  # a stamp saves time, no more
        write_atomically(
            place.root / NAME, dump_sealed({"of": of, "tables": _tables(place, tables), "outcomes": outcomes})
        )


def outcomes_if_merged(place: Place, of: str, tables: Iterable[str]) -> dict[str, str] | None:
    """How each trial ended, where the tables are made from this state and as they were written; else None."""
    try:
        stamp = load_sealed(place.root / NAME)
        if (stamp["of"], stamp["tables"]) == (of, _tables(place, tables)):
            return dict(stamp["outcomes"])
    except (FileNotFoundError, DamageError, KeyError, TypeError, ValueError):
        pass
    return None


def _tables(place: Place, names: Iterable[str]) -> dict[str, list[int]]:
    return {name: _identity((place.root / name).stat(follow_symlinks=False)) for name in names}


def _identity(found: os.stat_result) -> list[int]:
    return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]
