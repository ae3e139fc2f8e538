"""A trial on the command line: named by its key, or by how the key begins."""

import re
from pathlib import Path

from harness.errors import UsageError


def find_record(results: Path, prefix: str) -> Path:
    """The record of the trial whose key begins so; UsageError where there is none, or more than one."""
    if not re.fullmatch(r"[0-9a-f]{1,16}", prefix):
        raise UsageError(
            f"a trial is named by its key, 16 hex digits or the first of them, got {prefix!r}; trials.csv has the keys"
        )
    paths = sorted(results.glob(f"*/records/{prefix}*.json"))
    if not paths:
        raise UsageError(
            f"no trial in {results} with a result has a key that begins with {prefix!r}; trials.csv has the keys, of "
            "those without a result too"
        )
    if len(paths) > 1:
        names = ", ".join(f"{path.stem} ({path.parent.parent.name})" for path in paths[:5])
        raise UsageError(f"{len(paths)} trials begin with {prefix!r}: {names}; give more digits, or another --results")
    return paths[0]
