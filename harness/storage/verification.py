"""Every checksum of a results folder read; what does not hold is named, and can be set aside."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DamageError, MachineError, NewerSchemaError
from harness.io import make_folder, read_bytes, sync_folder
from harness.storage.merge_cache import find_changed_tables
from harness.storage.records import ResultsDir, read_manifest, read_record
from harness.storage.tables import TABLES

MAX_CONTAINER_BYTES = 64 * 2**30
CHECKSUM_BYTES = 32  # at the end of a snapshot or a model
REMADE = {  # kind of file -> what becomes of it once it is set aside
    "suite.json": "`run` writes it again, and cuts the suite into cohorts anew",
    "record": "`run` trains it again",
    "table": "`report` writes it again",
    "snapshot": "`run` goes on from the one before it, or begins again",
    "model": "`run` trains it again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A file whose checksum was read."""

    path: Path
    kind: str  # one of REMADE
    fault: str = ""  # what is wrong with it
    is_newer: bool = False  # it is whole, and of a newer version: it stays where it is


def verify_results(results_dir: ResultsDir) -> Iterator[Verified]:
    """Every file of the folder that has a checksum, and what is wrong with it."""
    if results_dir.manifest.is_symlink() or results_dir.manifest.exists():
        yield _verified(results_dir.manifest, "suite.json", lambda path: read_manifest(results_dir))
    for path in sorted(results_dir.records.glob("*.json")):
        yield _verified(path, "record", read_record)
    for name, is_changed in find_changed_tables(results_dir, TABLES).items():
        yield Verified(
            path=results_dir.root / name,
            kind="table",
            fault="it is not what was written: its checksum does not hold" if is_changed else "",
        )
    for path in sorted(results_dir.checkpoints.glob("*.snapshot")):
        yield _verified(path, "snapshot", _check_container)
    for path in sorted((results_dir.root / "models").glob("[!.]*")):
        yield _verified(path, "model", _check_container)


def set_aside(results_dir: ResultsDir, file: Verified) -> Path:
    """Move a damaged file into the folder `damaged`, so that it is made again; where it lies now."""
    folder = results_dir.root / "damaged"
    if folder.is_symlink():
        raise DamageError(f"{folder} is a link; remove it")
    target = folder / file.path.relative_to(results_dir.root)
    number = 0
    while target.is_symlink() or target.exists():
        number += 1
        target = target.with_name(f"{file.path.name}.{number}")
    try:
        make_folder(target.parent)
        file.path.rename(target)
        sync_folder(file.path.parent)
        sync_folder(target.parent)
    except OSError as error:
        raise MachineError(f"can't move {file.path}: {error.strerror} (errno {error.errno})") from error
    return target


def _verified(path: Path, kind: str, read: Callable[[Path], object]) -> Verified:
    try:
        read(path)
    except NewerSchemaError as error:
        return Verified(path=path, kind=kind, fault=str(error), is_newer=True)
    except (DamageError, FileNotFoundError) as error:
        return Verified(path=path, kind=kind, fault=str(error))
    return Verified(path=path, kind=kind)


def _check_container(path: Path) -> None:
    """Raise DamageError where the checksum at the end of a snapshot or a model does not hold."""
    data = memoryview(read_bytes(path, max_bytes=MAX_CONTAINER_BYTES))
    if hashlib.sha256(data[:-CHECKSUM_BYTES]).digest() != data[-CHECKSUM_BYTES:]:
        raise DamageError(f"{path} is damaged: its checksum does not hold")
