"""Nothing is left of a run when it has ended or was killed, whatever its models have started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.processes import marked, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such calls")

SUITE = '''"""What becomes of what a model does?"""
import ctypes, os, signal, subprocess, time
from torch import nn
from harness import Suite

class Net(nn.Sequential):
    def forward(self, x):
        if self.training and os.path.exists("results/tiny/suite.json"):  # the preflight is over
            DEED
        return super().forward(x)

def net(classes):
    return Net(nn.Flatten(), nn.Linear(64, classes))

suite = Suite(dataset="digits", model=net, lr=0.1, batch_size=100, steps=3, world_size=RANKS)
'''
DEEDS = {  # what a model does in its forward pass
    "holds the lock of the interpreter": "ctypes.PyDLL(None).sleep(100000)",
    "starts a process and hangs": 'subprocess.Popen(["sleep", "600"]); time.sleep(600)',
    "forks into another session and hangs": "os.fork() or os.setsid(); time.sleep(600)",
}
FATAL = {
    "starts a process and dies": 'subprocess.Popen(["sleep", "600"]); os.kill(os.getpid(), signal.SIGKILL)',
    "forks and dies": "os.fork() and os._exit(3); time.sleep(600)",
}


@pytest.fixture
def mark(monkeypatch):
    """A text in the variables of every process that a test starts, by which they are found."""
    text = f"MARK_{uuid4().hex}"
    monkeypatch.setenv("HARNESS_TEST_MARK", text)
    yield text
    for pid in marked(text):
        os.kill(pid, signal.SIGKILL)


def begin(harness, deed, ranks=1):
    suite = SUITE.replace("DEED", f"open('begun', 'w').close(); {deed}").replace("RANKS", str(ranks))
    harness.suite(suite)
    process = harness.start("run", "tiny", "--progress", "none", "--workers", "1")
    wait_for(lambda: (harness.folder / "begun").exists() or process.poll() is not None)
    return process


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_nothing_is_left_when_the_supervisor_is_killed(harness, mark, deed, ranks):
    process = begin(harness, deed, ranks)
    time.sleep(0.3)
    process.kill()
    process.communicate()
    wait_for(lambda: not marked(mark), 10)


def test_nothing_is_left_when_a_suspended_worker_loses_its_supervisor(harness, mark):
    process = begin(harness, "time.sleep(600)")
    for pid in marked(mark):
        if pid != process.pid and any("forkserver" in part for part in command(pid)):
            os.kill(pid, signal.SIGSTOP)
    process.kill()
    process.communicate()
    wait_for(lambda: not marked(mark), 10)


def command(pid):
    return Path(f"/proc/{pid}/cmdline").read_text("utf-8").split("\0")


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("deed", FATAL.values(), ids=FATAL)
def test_a_worker_that_dies_is_noticed_though_what_it_started_holds_its_pipe(harness, mark, deed, ranks):
    process = begin(harness, deed, ranks)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert "1 crashed" in out
    assert not marked(mark)


def test_no_rank_trains_on_when_torchrun_is_killed(harness, mark):
    harness.suite(SUITE.replace("DEED", "open('begun', 'w').close(); time.sleep(0.5)").replace("RANKS", "2"))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    with subprocess.Popen(
        [*launcher, "-m", "harness", "run", "tiny", "--progress", "none"],
        cwd=harness.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as torchrun:
        wait_for((harness.folder / "begun").exists)
        torchrun.kill()
    wait_for(lambda: not marked(mark), 10)
