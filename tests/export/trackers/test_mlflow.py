"""Runs in MLflow, read back by its own client: of the real package where it is installed, and of a stand-in."""

import importlib
import importlib.util
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from harness.errors import MachineError
from tests.export.trackers.conftest import SUITE
from tests.support.fake_trackers import mlflow_modules

MODULE = "harness.export.trackers.mlflow"
HAS_MLFLOW = importlib.util.find_spec("mlflow") is not None
REAL = pytest.mark.skipif(not HAS_MLFLOW, reason="no mlflow; pip install 'harness[mlflow]'")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A database of the real MLflow, which takes seconds to make one."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    sys.modules["mlflow"].MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(params=["stand-in", pytest.param("real", marks=[REAL, pytest.mark.filterwarnings("default")])])
def mlflow(request, monkeypatch, tmp_path):
    """The module under test, and a client of the database that it writes."""
    if request.param == "stand-in":
        for name, module in mlflow_modules().items():
            monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    module = importlib.import_module(MODULE)
    monkeypatch.delitem(sys.modules, MODULE)  # the next test finds the package that it has
    (tmp_path / "out").mkdir()
    if request.param == "real":
        shutil.copy(request.getfixturevalue("empty_database"), tmp_path / "out")
    client = sys.modules["mlflow"].MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/out/mlflow.db")
    return SimpleNamespace(write=module.write, client=client, out=tmp_path / "out", name=module._name)


def runs_of(mlflow):
    experiment = mlflow.client.get_experiment_by_name(SUITE).experiment_id
    runs, token = [], None
    while True:
        page = mlflow.client.search_runs([experiment], page_token=token)
        runs += page
        if not (token := page.token):
            return {run.info.run_name: run for run in runs}, len(runs)


def history(mlflow, run, names):
    return {(n, m.step): m.value for n in names for m in mlflow.client.get_metric_history(run.info.run_id, n)}


def test_what_goes_over_comes_back_to_the_bit(mlflow, trials, points, assert_same):
    written = mlflow.write(SUITE, trials, mlflow.out)
    assert (written.n_runs, written.n_replaced) == (2, 0)
    runs, count = runs_of(mlflow)
    assert count == 2
    for trial in trials:
        run, last = runs[trial.key], max(trial.curves)
        curves = points[trial.key]
        assert_same(history(mlflow, run, {name for name, _ in curves}), curves)
        outcomes = {(name, last): value for name, value in trial.outcomes.items()}
        assert_same(history(mlflow, run, trial.outcomes), outcomes)
        assert run.data.params == {name: str(value) for name, value in trial.settings.items()}
        own = {tag: value for tag, value in run.data.tags.items() if tag.startswith("harness.")}
        expected = {"key": trial.key, "suite": SUITE, "arm": trial.arm, "status": trial.status}
        assert own == {f"harness.{name}": value for name, value in expected.items()}
        assert (run.info.start_time, run.info.end_time) == (1000 * trial.started, 1000 * trial.finished)
        assert run.info.status == "FINISHED"


def test_writing_again_replaces_its_own_runs_alone(mlflow, trials, replaced):
    mlflow.write(SUITE, trials, mlflow.out)
    experiment = mlflow.client.get_experiment_by_name(SUITE).experiment_id
    mlflow.client.create_run(experiment, run_name="mine", tags={"harness": "mine"})
    second = mlflow.write(SUITE, replaced(trials), mlflow.out)
    assert (second.n_runs, second.n_replaced) == (2, 2)
    runs, count = runs_of(mlflow)
    assert (count, runs.keys()) == (3, {"mine", *(trial.key for trial in trials)})
    for trial in replaced(trials):
        (step, values), *_ = trial.curves.items()
        assert history(mlflow, runs[trial.key], values)[next(iter(values)), step] == -1.5


def test_a_trial_without_a_result_has_failed_and_its_names_stay_apart(mlflow, crashed):
    mlflow.write(SUITE, [crashed], mlflow.out)
    run = runs_of(mlflow)[0][crashed.key]
    assert run.info.status == "FAILED"
    first, second = (mlflow.name(name) for name in crashed.curves[3])
    assert first != second
    assert history(mlflow, run, [first]) == {(first, 3): 0.5}
    assert history(mlflow, run, [second])[second, 3] >= sys.float_info.max  # which is what SQLite makes of infinity


def test_more_values_than_fit_in_one_request_go_over(mlflow, trials):
    values = {f"log/{name}": 0.5 for name in range(1100)}
    mlflow.write(SUITE, [replace(trials[0], curves={0: values})], mlflow.out)
    run = runs_of(mlflow)[0][trials[0].key]
    assert len(history(mlflow, run, ["log/0", "log/999", "log/1000", "log/1099"])) == 4


def test_a_deleted_experiment_is_told(mlflow, trials):
    mlflow.client.delete_experiment(mlflow.client.create_experiment(SUITE))
    with pytest.raises(MachineError, match=r"experiment lr_sweep was deleted .* restore --experiment-id 1"):
        mlflow.write(SUITE, trials, mlflow.out)


def test_without_output_the_server_of_the_environment_is_asked(mlflow, trials, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(MachineError, match=r"^MLflow can't write to http://127.0.0.1:9: .*"):
        mlflow.write(SUITE, trials, None)


def test_without_both_it_writes_where_mlflow_looks(mlflow, trials, monkeypatch):
    monkeypatch.chdir(mlflow.out)
    assert mlflow.write(SUITE, trials, None).place == f"experiment {SUITE} of sqlite:///{mlflow.out}/mlflow.db"
    assert runs_of(mlflow)[1] == 2
