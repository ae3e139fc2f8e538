"""Runs for MLflow: an experiment for the suite, a run for each trial, in a file of SQLite or on a tracking server.

Curves have NaN where a loss is not finite, which MLflow keeps; infinity becomes the largest number there is, in SQLite.
"""

import logging
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from harness.errors import MachineError, error_line
from harness.export.trackers import Written
from harness.export.trackers.tracked_trial import TrackedTrial
from harness.io import make_folder

DATABASE = "mlflow.db"  # in the current folder it is where MLflow itself looks
URI, TELEMETRY_OFF = "MLFLOW_TRACKING_URI", "MLFLOW_DISABLE_TELEMETRY"  # variables of MLflow
OURS = "harness.key"  # the tag of runs that were written here
BATCH = 1000  # metrics at a time, as many as MLflow takes
UNNAMED = re.compile(r"[^/\w.\- :]")  # letters that MLflow takes in no name


def write(suite: str, trials: Iterable[TrackedTrial], output: Path | None) -> Written:
    """Write a run for each trial, in place of the one written earlier; runs of others stay as they are.

    They go into a database in `output`, else to MLFLOW_TRACKING_URI, else into the current folder. Raises MachineError
    where MLflow can't keep them.
    """
    os.environ.setdefault(TELEMETRY_OFF, "true")  # nobody who writes to a file expects calls over a network
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    folder = output or Path()
    uri = os.environ.get(URI) if output is None else None
    if not uri:
        make_folder(folder)
        uri = f"sqlite:///{(folder / DATABASE).resolve()}"
    n_runs = n_replaced = 0
    with _saying_where(uri):
        client = MlflowClient(tracking_uri=uri)
        experiment = _experiment(client, suite, folder if uri.startswith("sqlite:") else None)
        earlier = _runs_by_key(client, experiment)
        for trial in trials:
            for run in earlier.get(trial.key, []):
                client.delete_run(run)
            _write_run(client, experiment, suite, trial)
            n_runs += 1
            n_replaced += trial.key in earlier
    look = f"mlflow ui --backend-store-uri {uri}" if uri.startswith("sqlite:") else f"the page of {uri}"
    return Written(n_runs=n_runs, n_replaced=n_replaced, place=f"experiment {suite} of {uri}", look=look)


@contextmanager
def _saying_where(uri: str) -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        raise MachineError(f"MLflow can't write to {uri}: {error_line(error)[:300]}") from error


def _experiment(client: MlflowClient, suite: str, folder: Path | None) -> str:
    """The identifier of the experiment called like the suite, made where there is none."""
    if there := client.get_experiment_by_name(suite):
        if there.lifecycle_stage == "deleted":
            raise MachineError(
                f"the experiment {suite} was deleted in MLflow; bring it back with: "
                f"mlflow experiments restore --experiment-id {there.experiment_id}"
            )
        return str(there.experiment_id)
    artifacts = None if folder is None else (folder / "mlruns").resolve().as_uri()
    return str(client.create_experiment(suite, artifact_location=artifacts))


def _runs_by_key(client: MlflowClient, experiment: str) -> dict[str, list[str]]:
    """Key of a trial -> the runs that were written for it."""
    runs: dict[str, list[str]] = {}
    token = None
    while True:
        page = client.search_runs([experiment], f"tags.`{OURS}` != ''", page_token=token)
        for run in page:
            runs.setdefault(run.data.tags[OURS], []).append(run.info.run_id)
        if not (token := page.token):
            return runs


def _write_run(client: MlflowClient, experiment: str, suite: str, trial: TrackedTrial) -> None:
    tags = {OURS: trial.key, "harness.suite": suite, "harness.arm": trial.arm, "harness.status": trial.status}
    started, finished = round(1000 * trial.started), round(1000 * trial.finished)
    run = client.create_run(experiment, start_time=started, tags=tags, run_name=trial.key).info.run_id
    client.log_batch(run, params=[Param(_name(name), str(value)) for name, value in trial.settings.items()])
    curves = [*trial.curves.items(), (max(trial.curves, default=0), trial.outcomes)]
    metrics = [metric for step, values in curves for metric in _metrics(values, finished, step)]
    for first in range(0, len(metrics), BATCH):
        client.log_batch(run, metrics=metrics[first : first + BATCH])
    client.set_terminated(run, status="FINISHED" if trial.has_result else "FAILED", end_time=finished)


def _metrics(values: Mapping[str, float | int], time: int, step: int) -> Iterator[Metric]:
    for name, value in values.items():
        yield Metric(_name(name), float(value), time, step)


def _name(name: str) -> str:
    """A name that MLflow takes; two that differ stay two."""
    clean = UNNAMED.sub("_", name)
    return clean if clean == name else f"{clean}_{zlib.crc32(name.encode()):08x}"
