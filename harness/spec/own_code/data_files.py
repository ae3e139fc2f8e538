"""Data that lie in files beside a suite: which names are those of files, and a digest of what is in them."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from harness.errors import SuiteError

FILE_SUFFIXES = (".npz", ".txt", ".csv", ".parquet")
FOLDER = "/"  # what the name of a folder ends with
DIGEST_LETTERS = 16


def is_data_file(name: str) -> bool:
    """Whether a dataset of this name is a file or a folder beside the suite."""
    return name.endswith((*FILE_SUFFIXES, FOLDER))


def drawn_name(dataset: object, *, standardize: bool) -> str:
    """The name, without its suffix, of the file in a results folder that has a dataset as a report draws it."""
    return Path(str(dataset)).stem + (".standardized" if standardize else "")


def meant_by(folder: Path, name: str) -> str:
    """What dataset the file or folder beside the suite is that was meant by a name without its end; "" for none."""
    candidates = (name + end for end in (FOLDER, *FILE_SUFFIXES))
    return next((candidate for candidate in candidates if _is_there(folder, candidate)), "")


def data_digest(folder: Path, name: str) -> str:
    """A digest of a file, or of the names and contents of all files in a folder; SuiteError where there is none."""
    path = folder / name
    if not _is_there(folder, name):
        kind = "folder" if name.endswith(FOLDER) else "file"
        raise SuiteError(f"dataset {name!r}: no {kind} {path} (paths count from the suite's folder)")
    try:
        if not name.endswith(FOLDER):
            return _file_digest(path)
        digest = hashlib.sha256()
        for file in files_in(path):
            digest.update(f"{file.relative_to(path).as_posix()}\0{_file_digest(file)}\n".encode())
        return digest.hexdigest()[:DIGEST_LETTERS]
    except OSError as error:
        raise SuiteError(f"dataset {name!r}: can't read {error.filename or path}: {error.strerror}") from error


def _is_there(folder: Path, name: str) -> bool:
    # Those of pathlib raise where a name is too long
    is_kind = os.path.isdir if name.endswith(FOLDER) else os.path.isfile
    return is_kind(folder / name)


def files_in(folder: Path) -> Iterator[Path]:
    """The files in a folder and those below it, in the order of their names, without hidden ones."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from files_in(path)
        else:
            yield path


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGEST_LETTERS]
