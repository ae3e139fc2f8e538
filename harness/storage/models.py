"""Trained models: which of them are no longer what was written. A model that was whole is known by its file's stat.

The note of what was whole is disposable: without it all models are read.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from harness.errors import DamageError, MachineError
from harness.io import dump_checked_json, load_checked_json, write_atomically
from harness.storage.containers import read_container
from harness.storage.merge_cache import stat_identity
from harness.storage.records import ResultsDir
from harness.typed import check_members

NOTE = ".whole_models"


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeModels:
    """The models whose checksums held when they were read."""

    files: Mapping[str, Sequence[int]]  # name of a file -> what the file system said of it


def find_damaged_models(results_dir: ResultsDir) -> dict[str, DamageError]:
    """What is wrong with models, by the names of their files."""
    before, whole, damaged = _read_note(results_dir), dict[str, list[int]](), dict[str, DamageError]()
    for name, identity in _model_files(results_dir):
        try:
            if before.get(name) != identity:
                read_container(results_dir.models / name)
            whole[name] = identity
        except FileNotFoundError:
            continue
        except DamageError as error:
            damaged[name] = error
    if whole != before:
        with suppress(MachineError):  # it saves time, no more
            write_atomically(results_dir.root / NOTE, dump_checked_json({"files": whole}))
    return damaged


def _model_files(results_dir: ResultsDir) -> list[tuple[str, list[int]]]:
    """The names of models in their order, with what the file system says of each."""
    try:
        with os.scandir(results_dir.models) as entries:
            files = [(entry.name, stat_identity(entry.stat(follow_symlinks=False))) for entry in entries]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DamageError(f"can't read {results_dir.models}: {error.strerror}; remove it") from error
    return sorted((name, identity) for name, identity in files if not name.startswith("."))


def _read_note(results_dir: ResultsDir) -> Mapping[str, Sequence[int]]:
    try:
        content = load_checked_json(results_dir.root / NOTE)
        check_members(content, WholeModels, "")
        return WholeModels(**content).files
    except (FileNotFoundError, DamageError):
        return {}
