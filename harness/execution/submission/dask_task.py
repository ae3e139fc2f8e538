"""What a Dask worker does for us: start the plain command as a process of its own, and wait for it.

A supervisor can't live in the Dask worker itself: a task runs in a thread, which gets no signals, and the process may
not be allowed to have children. This module needs neither Dask nor torch; Dask workers find it by its name.
"""

import os
import subprocess
import sys
from pathlib import Path

from harness._version import __version__
from harness.io import make_folder

KEEPER = ("-m", "harness.execution.containment.keeper")


def run_worker(arguments: list[str], folder: str, log: str) -> int:
    """Run `python -m harness` to its end; its exit code. It ends with this process, however that goes.

    RuntimeError where it was killed: the scheduler then starts the task again.
    """
    make_folder(Path(log).parent)
    with Path(log).open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *KEEPER, str(os.getpid()), sys.executable, "-m", "harness", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # signals to the Dask worker's group are for that worker to heed
        )
        code = process.wait()
    if code < 0:
        raise RuntimeError(f"the worker was killed by signal {-code}; its log is {log}")
    return code


def find_obstacle(version: str, paths: list[str]) -> str:
    """Why `run_worker` can't work here; empty where it can."""
    if version != __version__:
        return f"it has harness {__version__}, and the command was typed with {version}"
    missing = [path for path in paths if not Path(path).exists()]
    return f"it doesn't see {missing[0]}; all machines must share that folder" if missing else ""
