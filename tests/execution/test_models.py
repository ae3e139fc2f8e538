"""The weights of a cohort on disk: the same bytes however often it was interrupted, and never changed afterwards."""

import pytest

from harness.execution.messages import Finished, Stopped, TrainRequest
from harness.execution.train import train_cohort
from harness.spec.cohorts import make_cohorts
from harness.spec.loader import load_suite
from harness.storage.records import ResultsDir

SUITE = """
from harness import Suite
suite = Suite(dataset="digits", model="mlp-8", norm="batch", lr=[0.1, 1e30], batch_size=200, steps=9, eval_every=2,
              optimizer="adamw", seed=range(3), save_models={save})
"""


def job_of(folder, name, *, save=True):
    suite = folder / f"{'keeping' if save else 'leaving'}.py"  # a worker loads a file once
    suite.write_text(SUITE.format(save=save))
    (cohort,) = make_cohorts(load_suite(suite).trials(device="cpu"))
    telemetry = {"code_hash": "x"}
    return TrainRequest(suite=suite, cohort=cohort, root=folder / name, telemetry=telemetry, attempt=1)


def models(job):
    return {path.name: path.read_bytes() for path in sorted((ResultsDir(job.root).root / "models").glob("*"))}


def train(job, *, pieces=None):
    """Train for some pieces of work, or to the end."""
    left = iter(range(pieces or 10**6))
    *_, answer = train_cohort(job, stop=lambda: next(left, None) is None)
    return answer


@pytest.mark.parametrize("pieces", [1, 3, 5])
def test_interrupted_training_leaves_the_same_models_to_the_byte(tmp_path, pieces):
    whole, torn = job_of(tmp_path, "whole"), job_of(tmp_path, "torn")
    assert isinstance(train(whole), Finished)
    stops = 0
    while isinstance(train(torn, pieces=pieces), Stopped):
        assert models(torn) == {}
        stops += 1
    assert stops > 1
    assert len(models(whole)) == 12
    assert models(torn) == models(whole)


def test_a_snapshot_without_the_best_so_far_is_not_gone_on_from(tmp_path):
    job = job_of(tmp_path, "torn", save=False)
    assert isinstance(train(job, pieces=4), Stopped)
    whole = job_of(tmp_path, "whole")
    train(whole)
    again = job_of(tmp_path, "torn")
    *progress, _ = train_cohort(again, stop=lambda: False)
    assert any("a different save_models" in message.note for message in progress)
    assert models(again) == models(whole)


def test_a_model_that_stands_is_kept_and_a_damaged_one_is_written_again(tmp_path):
    job = job_of(tmp_path, "r")
    train(job)
    before = models(job)
    first, second = (ResultsDir(job.root).root / "models" / name for name in list(before)[:2])
    stamp = first.stat().st_mtime_ns
    second.write_bytes(before[second.name][:-1])
    train(job)
    assert models(job) == before
    assert first.stat().st_mtime_ns == stamp


def test_nothing_is_kept_where_the_suite_asks_for_nothing(tmp_path):
    job = job_of(tmp_path, "r", save=False)
    train(job)
    assert models(job) == {}
