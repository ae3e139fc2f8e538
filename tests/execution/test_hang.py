"""Ranks that fall silent: they are ended, nothing of them is left, and the trial is trained again."""

import os
import signal

import pytest

from harness.execution import pool as pools
from harness.execution.executors.scheduler import execute
from harness.execution.messages import TrainRequest
from harness.spec.cohorts import Cohort
from harness.spec.trial import Trial
from harness.storage.records import ResultsDir, read_record
from tests.cli.test_ranks import processes, ranks_of

SUITE = """
from harness import Suite
suite = Suite(dataset="digits", model="mlp-8", lr=0.1, batch_size=50, steps=3000, world_size=2)
"""


@pytest.mark.slow
def test_a_rank_that_hangs_ends_its_attempt_and_the_trial_is_trained_again(tmp_path, monkeypatch):
    monkeypatch.setattr(pools, "RANKS_HEARTBEAT_TIMEOUT", 25.0)
    (tmp_path / "s.py").write_text(SUITE, "utf-8")
    trial = Trial(dataset="digits", model="mlp-8", lr=0.1, batch_size=50, steps=3000, world_size=2, device="cpu")
    stopped, notes = [], []
    with pools.ranks_of(2, lambda: False) as pool:
        job = TrainRequest(
            suite=tmp_path / "s.py", cohort=Cohort((trial,)), root=tmp_path, telemetry={"code_hash": "x"}
        )
        for event in execute(pool, [job], lambda: False):
            notes.append(event.note)
            if not stopped and event.keys:
                stopped = ranks_of(os.getpid())
                os.kill(stopped[1], signal.SIGSTOP)
    assert any("no sign of life" in note for note in notes)
    assert read_record(ResultsDir(tmp_path).record(trial.key)).outcome == "trained"
    assert not any(rank in processes() for rank in stopped)
