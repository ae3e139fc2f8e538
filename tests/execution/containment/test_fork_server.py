"""The server that forks workers: it ends with the process that starts it, also when that is gone before it looks."""

import os
import subprocess
import sys

import pytest

from harness.execution.containment.fork_server import SUPERVISOR
from harness.execution.containment.keeper import CAN_KEEP

LOADED = "import harness.execution.containment.fork_server, sys; print('torch' in sys.modules)"


def output_of_a_server(supervisor: int) -> str:
    """What a server prints that believes to be started by that process."""
    words = [sys.executable, "-c", LOADED, "multiprocessing.forkserver"]  # it knows itself by this word
    environment = {**os.environ, SUPERVISOR: str(supervisor)}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.skipif(not CAN_KEEP, reason="only Linux tells a process that its parent is gone")
def test_a_server_whose_supervisor_was_killed_while_it_started_loads_nothing():
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert output_of_a_server(gone.pid) == ""
    assert output_of_a_server(os.getpid()) == "True\n"
