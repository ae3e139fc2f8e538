"""Planes on disk: of the suite's first seed, the same bytes however often training was interrupted."""

from harness.execution.messages import Finished, Stopped, TrainRequest
from harness.execution.train import train_cohort
from harness.spec.cohorts import make_cohorts
from harness.spec.loader import load_suite
from harness.storage.records import ResultsDir

SUITE = """
from harness import Suite
suite = Suite(dataset="circles", model="mlp-8", lr=[0.1, 0.3], batch_size=200, steps=9, seed=[5, 3, 4])
"""


def last(messages):
    *_, answer = messages
    return answer


def test_interrupted_or_not_the_first_seed_leaves_its_planes(tmp_path):
    (tmp_path / "rings.py").write_text(SUITE)
    (cohort,) = make_cohorts(load_suite(tmp_path / "rings.py").trials(device="cpu"))

    def job(name):
        place = tmp_path / name
        return TrainRequest(
            suite=tmp_path / "rings.py", cohort=cohort, root=place, telemetry={"code_hash": "x"}, attempt=1
        )

    def planes(name):
        return {
            path: path.read_bytes() for path in map(ResultsDir(tmp_path / name).plane, keys) if path.exists()
        }.values()

    keys = [trial.key for trial in cohort.trials if trial.seed == 5]
    assert isinstance(last(train_cohort(job("whole"), stop=lambda: False)), Finished)
    left = iter([False, False])
    assert isinstance(last(train_cohort(job("torn"), stop=lambda: next(left, True))), Stopped)
    assert list(planes("torn")) == []
    assert isinstance(last(train_cohort(job("torn"), stop=lambda: False)), Finished)
    assert len(planes("whole")) == 2
    assert list(planes("torn")) == list(planes("whole"))
    assert len(list((tmp_path / "whole" / "data" / "planes").iterdir())) == 2
