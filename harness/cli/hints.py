"""Commands that a message tells the user to type next."""

import shlex
from pathlib import Path

DEFAULT_RESULTS = Path("results")


def command(verb: str, *arguments: object, results: Path) -> str:
    """What to type at a shell for the same results folder, which is named where it is not the default."""
    folder = [] if results == DEFAULT_RESULTS else ["--results", str(results)]
    return shlex.join(["python", "-m", "harness", verb, *map(str, arguments), *folder])
