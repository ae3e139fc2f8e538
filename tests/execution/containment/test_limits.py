"""Limits of time, memory and silence that a suite sets, and memory that the system takes by force."""

import os
import signal
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from harness.errors import SuiteError
from harness.execution.containment import oom_kills
from harness.execution.messages import Failed, TrainRequest
from harness.execution.pool import Pool, Worker, _with_oom
from harness.spec.cohorts import Cohort
from harness.spec.limits import Limits
from harness.spec.trial import Trial

SUITE = '''"""What may a trial take?"""
import time, torch
from torch import nn
from harness import Suite

class Net(nn.Sequential):
    def forward(self, x):
        if self.training and len(x) == 100:
            DEED
        return super().forward(x)

def heavy(classes):
    return Net(nn.Flatten(), nn.Linear(64, classes))

suite = Suite(dataset="digits", model=[heavy, "mlp-8"], lr=0.1, batch_size=100, steps=20, seed=range(2), LIMIT)
'''


@pytest.mark.parametrize(
    ("deed", "limit", "outcome"),
    [
        ("time.sleep(0.4)", "max_seconds=2", "timeout"),
        ("torch.empty(2**30)", "max_memory_mb=600", "oom"),
    ],
)
def test_a_trial_that_takes_more_than_the_suite_allows_ends_alone(harness, deed, limit, outcome):
    harness.suite(SUITE.replace("DEED", deed).replace("LIMIT", limit))
    ran = harness("run", "tiny", "--workers", "1", "--progress", "none")
    assert ran.code == 1, ran.err
    assert f"2 of 4 trials have a result, 0 of these failed to train, 2 {outcome}" in ran.out
    assert limit in ran.err


def test_a_silent_trial_is_hung_after_the_time_that_its_suite_says(harness):
    deed = "time.sleep(600)"
    harness.suite(SUITE.replace("DEED", deed).replace("range(2)", "0").replace("LIMIT", "heartbeat_timeout=4"))
    ran = harness("run", "tiny", "--workers", "1", "--progress", "none")
    assert ran.code == 1, ran.err
    assert "no sign of life for 4 s" in ran.err
    assert "1 of 2 trials have a result, 0 of these failed to train, 1 timeout" in ran.out


@pytest.mark.parametrize("name", ["max_seconds", "max_memory_mb", "heartbeat_timeout"])
@pytest.mark.parametrize("value", [0, -1, "1h", True, float("nan")])
def test_a_limit_that_is_none_is_refused(name, value):
    with pytest.raises(SuiteError, match=f"{name} must be a positive number"):
        Limits(**{name: value})


TRIAL = Trial(dataset="digits", model="mlp-8", lr=0.1, batch_size=50, steps=5, device="cpu")


@pytest.mark.parametrize(
    ("limits", "has_begun", "timeout"),
    [
        (Limits(), True, 1800),
        (Limits(heartbeat_timeout=7), True, 7),
        (Limits(heartbeat_timeout=7), False, 120),
        (Limits(max_seconds=10), True, 35),  # for three trials, and the grace
        (Limits(max_seconds=10), False, 1800),  # it may still be loading its data
        (Limits(max_seconds=10, heartbeat_timeout=7), True, 7),
    ],
)
def test_how_long_a_worker_may_be_silent(tmp_path, limits, has_begun, timeout):
    cohort = Cohort(tuple(replace(TRIAL, seed=seed) for seed in range(3)))
    job = TrainRequest(suite=tmp_path, cohort=cohort, root=tmp_path, telemetry={}, limits=limits)
    pool = Pool(1, lambda: pytest.fail("no worker is needed"))
    assert pool._timeout(Worker(None, None, job, has_begun=has_begun)) == timeout


def test_a_run_that_was_suspended_counts_no_worker_as_hung(monkeypatch):
    ours, theirs = os.pipe()
    clock = iter([0.0, 100.0, 10_000.0])
    monkeypatch.setattr("harness.execution.pool.time", SimpleNamespace(monotonic=lambda: next(clock)))
    pool = Pool(1, lambda: pytest.fail("no worker is needed"), heartbeat_timeout=60)
    pool.workers.append(Worker(None, ours, "job"))
    assert list(pool.events(0)) == list(pool.events(0)) == []
    os.close(ours), os.close(theirs)


@pytest.mark.parametrize(
    ("groups", "file"),
    [
        ("0::/job/step", "job/step/memory.events"),
        ("0::/of/the/node", "memory.events"),
        ("9:pids:/\n4:memory:/job", "memory/job/memory.oom_control"),
    ],
)
def test_a_worker_that_the_system_kills_for_its_memory_is_oom(monkeypatch, tmp_path, groups, file):
    (tmp_path / "own").write_text(groups)
    monkeypatch.setattr(oom_kills, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(oom_kills, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(oom_kills, "VMSTAT", tmp_path / "vmstat")
    worker = Worker(None, None)
    dead = Failed(outcome="crashed", error="the worker was killed by SIGKILL", details="", is_retryable=True)
    assert _with_oom(dead, worker) is dead
    (tmp_path / "cgroup" / file).parent.mkdir(parents=True)
    (tmp_path / "cgroup" / file).write_text("oom 5\noom_kill 1\noom_kill_disable 0\n")
    assert _with_oom(dead, worker).outcome == "oom"
    other = replace(dead, error=f"the worker was killed by {signal.SIGSEGV.name}")
    assert _with_oom(other, worker) is other


if sys.platform != "linux":
    pytestmark = pytest.mark.skip(reason="other systems have no such limits")
