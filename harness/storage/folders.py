"""Where results lie: a folder of one suite, or one that holds those of several."""

import re
from collections.abc import Sequence
from pathlib import Path

from harness.errors import DamageError, UsageError
from harness.spec.manifest import Manifest
from harness.storage.records import ResultsDir, read_manifest

PLAIN_NAME = re.compile(r"[\w.-]{1,64}")  # what may become part of a file's name
EXAMPLE = "name a folder of results, such as results/lr_sweep"


def results_folders(folder: Path) -> list[Path]:
    """The folder itself where it holds the results of a suite, otherwise those of all suites in it."""
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}; {EXAMPLE}")
    if _holds_results(folder):
        return [folder]
    folders = sorted({path.parent for name in ("suite.json", "records") for path in folder.glob(f"*/{name}")})
    if not folders:
        raise UsageError(f"no results in {folder}; {EXAMPLE}")
    return folders


def by_suite(folders: Sequence[Path], results: Path) -> dict[str, dict[Path, Manifest]]:
    """The manifests of all suites in these folders, by suite and folder, with those that are in `results` already.

    Folders of one suite that are named themselves must be of the same; of others, those of equal names go together.
    """
    suites: dict[str, dict[Path, Manifest]] = {}
    named: dict[str, Path] = {}
    known = set()
    for given in folders:
        for folder in results_folders(given):
            if folder != given and folder.is_symlink():
                raise DamageError(f"{folder} is a link; name the folder that it leads to")
            if folder.resolve() in known:
                continue
            known.add(folder.resolve())
            manifest = _read_manifest(folder)
            if manifest.tables:
                raise UsageError(f"{folder} holds published results: tables without records, which can't be merged")
            if folder == given:
                named.setdefault(manifest.name, folder)
            suites.setdefault(manifest.name, {})[folder] = manifest
    if len(named) > 1:
        one, other = list(named)[:2]
        raise UsageError(
            f"{named[one]} holds results of the suite {one}, {named[other]} those of {other}; merge one suite at a "
            "time, or name folders that hold several suites"
        )
    for name, manifests in suites.items():
        target = results / name
        others = {folder: manifest for folder, manifest in manifests.items() if not _is_same(folder, target)}
        here = {target: _read_manifest(target)} if target.is_dir() and _holds_results(target) else {}
        suites[name] = {**here, **others}
    return suites


def require_own(folder: Path, manifest: Manifest | None) -> None:
    """UsageError where the results are published ones: their tables have no records that a run could add to."""
    if manifest is not None and manifest.tables:
        raise UsageError(
            f"{folder} holds published results, tables without the records that they were made of; run with another "
            "--results, and compare the two"
        )


def _holds_results(folder: Path) -> bool:
    return (folder / "suite.json").exists() or (folder / "records").exists()


def _is_same(folder: Path, other: Path) -> bool:
    return other.exists() and folder.samefile(other)


def _read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder; its name, which a stranger may have written, can be that of a folder."""
    manifest = read_manifest(ResultsDir(folder))
    if manifest is None:
        raise DamageError(f"{folder / 'suite.json'} is missing; `run` with its suite writes it again")
    name = manifest.name
    if not (name.isprintable() and 0 < len(name) < 200 and name == Path(name).name and not name.startswith(".")):
        raise DamageError(f"{folder / 'suite.json'} is no manifest: a suite can't be called {name!r:.50}")
    return manifest
