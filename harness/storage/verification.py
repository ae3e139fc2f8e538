"""Every checksum of a results folder read; what does not hold is named, and can be set aside."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DamageError, MachineError, NewerSchemaError
from harness.io import make_folder, move
from harness.storage.containers import read_container
from harness.storage.merge_cache import find_changed_tables
from harness.storage.records import ResultsDir, read_manifest, read_record
from harness.storage.tables import TABLES

REMADE = {  # kind of file -> what becomes of it once it is set aside
    "suite.json": "`run` writes it again, and cuts the suite into cohorts anew",
    "record": "`run` trains it again",
    "table": "`report` writes it again",
    "published table": "take it again from where it came from: there are no records to make it of",
    "snapshot": "`run` goes on from the one before it, or begins again",
    "model": "`run` trains it again",
    "folder": "`run` makes it again, with all that was in it",
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
    for folder in (results_dir.records, results_dir.checkpoints, results_dir.models):
        if (folder.is_symlink() or folder.exists()) and not folder.is_dir():
            yield Verified(path=folder, kind="folder", fault="it is no folder")
    for path in sorted(results_dir.records.glob("*.json")):
        yield _verified(path, "record", read_record)
    published = _published(results_dir)
    for name, is_changed in find_changed_tables(results_dir, TABLES, published).items():
        yield Verified(
            path=results_dir.root / name,
            kind="published table" if published else "table",
            fault="it is not what was written: its checksum does not hold" if is_changed else "",
        )
    for path in sorted(results_dir.checkpoints.glob("*.snapshot")):
        yield _verified(path, "snapshot", read_container)
    for path in sorted(results_dir.models.glob("[!.]*")):
        yield _verified(path, "model", read_container)


def _published(results_dir: ResultsDir) -> Mapping[str, str]:
    """The tables that were published, with their checksums; none where it was a run that made them."""
    try:
        manifest = read_manifest(results_dir)
    except (DamageError, NewerSchemaError):
        return {}
    return manifest.tables if manifest else {}


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
        move(file.path, target)
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
