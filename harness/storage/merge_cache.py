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
from dataclasses import asdict, dataclass

from harness.errors import DamageError, MachineError
from harness.io import dump_checked_json, load_checked_json, read_bytes, write_atomically
from harness.spec.measured import Measured
from harness.storage.csv_files import MAX_TABLE_BYTES
from harness.storage.records import LOSS_ROUNDINGS, NO_RESULT, SCHEMA, TRAINED, Record, ResultsDir
from harness.typed import check_members

FILE_NAME = ".merged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """What is noted of a merge."""

    of: str  # the fingerprint of what it was made from
    tables: Mapping[str, str]  # name -> checksum
    outcomes: Mapping[str, str]  # key -> how the trial ended


def fingerprint_of(results_dir: ResultsDir, keys: Sequence[str], of_suite: Measured, columns: Sequence[str]) -> str:
    """A digest of what the tables are made from, without reading it, and of the columns that are made from it."""
    try:
        with os.scandir(results_dir.records) as entries:
            files = {
                entry.name.removesuffix(".json"): stat_identity(entry.stat(follow_symlinks=False)) for entry in entries
            }
    except FileNotFoundError:
        files = {}
    except OSError as error:  # a file, a pipe or a loop of links in the place of the folder
        raise DamageError(f"can't read {results_dir.records}: {error.strerror}; move it away") from error
    content = [SCHEMA, LOSS_ROUNDINGS, repr(of_suite), list(columns), [(key, files.get(key)) for key in keys]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def save_cache(
    results_dir: ResultsDir, fingerprint: str, records: Mapping[str, Record], tables: Mapping[str, bytes]
) -> None:
    """Note what the tables were merged from, what they hold, and how each trial ended.

    The checksums are those of what was written, and not of what a disk has made of it.
    """
    checksums = {name: hashlib.sha256(data).hexdigest() for name, data in tables.items()}
    outcomes = {key: record.outcome for key, record in records.items()}
    merge = Merge(of=fingerprint, tables=checksums, outcomes=outcomes)
    with suppress(MachineError):  # it saves time, no more
        write_atomically(results_dir.root / FILE_NAME, dump_checked_json(asdict(merge)))


def outcomes_if_merged(results_dir: ResultsDir, fingerprint: str, tables: Iterable[str]) -> dict[str, str] | None:
    """How each trial ended, where the tables are made from this state and as they were written; else None."""
    with suppress(FileNotFoundError, DamageError):
        merge = _read_merge(results_dir)
        if (merge.of, merge.tables) == (fingerprint, _table_checksums(results_dir, tables)):
            return dict(merge.outcomes)
    return None


def find_changed_tables(results_dir: ResultsDir, names: Iterable[str], published: Mapping[str, str]) -> dict[str, bool]:
    """For each table that is there, whether it is no more what was published, or what the last merge has written.

    Empty where neither is known.
    """
    checksums = published
    if not published:
        try:
            checksums = _read_merge(results_dir).tables
        except (FileNotFoundError, DamageError):
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


def require_as_published(results_dir: ResultsDir, published: Mapping[str, str]) -> None:
    """DamageError where a table is not what was published."""
    for name, is_changed in find_changed_tables(results_dir, published, published).items():
        if is_changed:
            raise DamageError(
                f"{results_dir.root / name} is not what was published: its checksum does not hold; take it again from "
                "where it came from"
            )


def _read_merge(results_dir: ResultsDir) -> Merge:
    """What is noted of the last merge; DamageError where the note is not what was written."""
    path = results_dir.root / FILE_NAME
    content = load_checked_json(path)
    check_members(content, Merge, f"{path}:")
    merge = Merge(**content)
    if not {*merge.outcomes.values()} <= {TRAINED, *NO_RESULT}:
        raise DamageError(f"{path}: it has an unknown outcome")
    return merge


def _table_checksums(results_dir: ResultsDir, names: Iterable[str]) -> dict[str, str]:
    paths = {name: results_dir.root / name for name in names}
    return {
        name: hashlib.sha256(read_bytes(path, max_bytes=MAX_TABLE_BYTES)).hexdigest() for name, path in paths.items()
    }


def stat_identity(info: os.stat_result) -> list[int]:
    return [info.st_size, info.st_ino, info.st_mtime_ns, info.st_ctime_ns]
