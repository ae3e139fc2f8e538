"""The examples of own training: a trial of each, where what it needs is installed."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from harness.execution.messages import Finished, TrainRequest
from harness.spec.cohorts import Cohort
from harness.spec.loader import load_suite
from tests.support.own_training import run

EXAMPLES = Path(__file__).parents[1] / "examples" / "own_training"
NEEDS = {"fine_tuning": "transformers", "forests": "sklearn", "jax_momentum": "jax"}
SHORTER = {"fine_tuning": {"steps": 20}, "forests": {"trees": 20}, "jax_momentum": {"steps": 100}}
EQUAL_TWICE = {"any_program", "forests", "torch_loop", "two_forks"}


def one_trial(name: str, folder: Path):
    suite = load_suite(EXAMPLES / f"{name}.py")
    trial = next(suite.trials(device="cpu"))
    settings = tuple({**dict(trial.settings), **SHORTER.get(name, {})}.items())
    cohort = Cohort((replace(trial, settings=settings),))
    answer, notes, record = run(TrainRequest(suite=suite.path, cohort=cohort, root=folder, telemetry={}))
    assert isinstance(answer, Finished)
    assert notes == []
    return suite, record


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_an_example_trains(name, tmp_path):
    if (package := NEEDS.get(name)) and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    suite, record = one_trial(name, tmp_path / "one")
    assert record.facts["outcomes"].keys() == suite.suite.metrics.keys()
    assert record.facts["fail_step"] is None
    assert record.curves or name == "any_program"
    if name in EQUAL_TWICE:
        assert one_trial(name, tmp_path / "two")[1].facts == record.facts
