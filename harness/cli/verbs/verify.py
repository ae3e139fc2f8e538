"""`verify`: every checksum of results read, and what is damaged named."""

import argparse

from harness.errors import DamageError
from harness.storage.folders import results_folders
from harness.storage.lock import lock_results
from harness.storage.records import ResultsDir
from harness.storage.verification import REMADE, Verified, set_aside, verify_results
from harness.text import printable


def verify(options: argparse.Namespace) -> int:
    """Print what is damaged, and with --repair set it aside; the exit code."""
    n_files = n_damaged = n_left = 0
    for folder in results_folders(options.folder):
        results_dir = ResultsDir(folder)
        files = list(verify_results(results_dir))
        n_files += len(files)
        damaged = [file for file in files if file.fault]
        n_damaged += len(damaged)
        n_left += len([file for file in damaged if file.is_newer or not options.repair])
        for file in damaged:
            print(printable(f"{file.kind} {file.path}: {file.fault}"))
        if options.repair and damaged:
            with lock_results(results_dir):
                _repair(results_dir, damaged)
    print(f"{n_files} files read, {n_damaged} damaged")
    return DamageError.exit_code if n_left else 0


def _repair(results_dir: ResultsDir, damaged: list[Verified]) -> None:
    for file in damaged:
        if file.is_newer:
            print(printable(f"{file.path} stays: a newer version has written it"))
        else:
            target = set_aside(results_dir, file)
            print(printable(f"{file.path} is now {target}; {REMADE[file.kind]}"))
