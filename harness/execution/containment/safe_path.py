"""The path of modules of a process that is started, without the current folder."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SAFE_PATH = "PYTHONSAFEPATH"  # the variable that keeps the current folder out of the path

PACKAGE = Path(__file__).parents[2]


def environment_with_package(environment: Mapping[str, str]) -> dict[str, str]:
    """These variables for a process that finds this package though it leaves the current folder out of its path."""
    path = os.pathsep.join(filter(None, [environment.get("PYTHONPATH", ""), str(PACKAGE.parent)]))
    return {**environment, "PYTHONPATH": path}


@contextmanager
def safe_path() -> Iterator[None]:
    """Keep the current folder from coming first in the path of processes that are started here by `python -c`.

    A file called random.py in it would stand in for Python's own. They get this process's path a little later.
    """
    if SAFE_PATH in os.environ:
        yield
        return
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        del os.environ[SAFE_PATH]
