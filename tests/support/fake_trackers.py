"""Stand-ins for the packages of MLflow and W&B: as much of them as is called, with the limits of the real ones.

They keep what they are given in memory. Tests hold them and the real packages to the same, where the latter are there.
"""

import re
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace


class MlflowError(Exception):
    """As mlflow.exceptions.MlflowException."""


@dataclass
class MlflowMetric:
    """As mlflow.entities.Metric."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass
class MlflowParam:
    """As mlflow.entities.Param."""

    key: str
    value: str


@dataclass
class MlflowRun:
    """As mlflow.entities.Run, with all metrics."""

    experiment: str
    info: SimpleNamespace
    data: SimpleNamespace
    metrics: list[MlflowMetric] = field(default_factory=list)


class Page(list):
    """As mlflow's PagedList."""

    token: str | None = None


STORES: dict[str, tuple[dict, dict]] = {}  # URI -> experiments, runs
NUMBERS = count()  # of runs
PAGE = 2  # runs of a search at a time; the real one has 1,000


class MlflowClient:
    """As mlflow.MlflowClient."""

    def __init__(self, tracking_uri: str) -> None:
        if tracking_uri.startswith("http"):
            raise MlflowError(f"API request to {tracking_uri} failed\nwith more lines")
        self.experiments, self.runs = STORES.setdefault(tracking_uri, ({}, {}))

    def get_experiment_by_name(self, name):
        return next((e for e in self.experiments.values() if e.name == name), None)

    def create_experiment(self, name, artifact_location=None):
        number = str(len(self.experiments) + 1)
        self.experiments[number] = SimpleNamespace(
            experiment_id=number, name=name, artifact_location=artifact_location, lifecycle_stage="active"
        )
        return number

    def delete_experiment(self, experiment_id):
        self.experiments[experiment_id].lifecycle_stage = "deleted"

    def create_run(self, experiment_id, start_time=None, tags=None, run_name=None):
        info = SimpleNamespace(run_id=f"run{next(NUMBERS)}", run_name=run_name, start_time=start_time, status="RUNNING")
        run = MlflowRun(experiment_id, info, SimpleNamespace(tags=dict(tags or {}), params={}))
        self.runs[info.run_id] = run
        return run

    def log_batch(self, run_id, metrics=(), params=()):
        if len(metrics) > 1000 or len(params) > 100 or len(metrics) + len(params) > 1000:
            raise MlflowError("A batch logging request can contain at most 1000 entities")
        for entity in (*metrics, *params):
            if not re.fullmatch(r"[/\w.\- :]+", entity.key):
                raise MlflowError(f"Invalid value {entity.key!r}")
        assert {type(m.value) for m in metrics} <= {float}
        self.runs[run_id].metrics.extend(metrics)
        self.runs[run_id].data.params.update({param.key: param.value for param in params})

    def set_terminated(self, run_id, status=None, end_time=None):
        info = self.runs[run_id].info
        info.status, info.end_time = status, end_time

    def delete_run(self, run_id):
        del self.runs[run_id]

    def search_runs(self, experiment_ids, filter_string="", page_token=None):
        runs = [run for run in self.runs.values() if run.experiment in experiment_ids]
        if filter_string:
            tag = re.fullmatch(r"tags\.`(.+)` != ''", filter_string)[1]
            runs = [run for run in runs if tag in run.data.tags]
        first = int(page_token or 0)
        page = Page(runs[first : first + PAGE])
        page.token = str(first + PAGE) if len(runs) > first + PAGE else None
        return page

    def get_metric_history(self, run_id, key):
        return [metric for metric in self.runs[run_id].metrics if metric.key == key]


def mlflow_modules() -> dict[str, ModuleType]:
    """The modules to be found in place of MLflow's."""
    top, entities, exceptions = (ModuleType(name) for name in ("mlflow", "mlflow.entities", "mlflow.exceptions"))
    top.MlflowClient, exceptions.MlflowException = MlflowClient, MlflowError
    entities.Metric, entities.Param = MlflowMetric, MlflowParam
    return {module.__name__: module for module in (top, entities, exceptions)}


@dataclass
class WandbRun:
    """As wandb.Run."""

    options: dict
    folder: Path
    summary: dict = field(default_factory=dict)
    history: dict = field(default_factory=dict)  # step -> name -> value
    exit_code: int | None = None

    def log(self, data, step):
        if step < max(self.history, default=0):
            return  # the real one warns, and drops what goes back
        self.history.setdefault(step, {}).update(data)

    def finish(self, exit_code=0):
        self.exit_code = exit_code


class WandbSettings(SimpleNamespace):
    """As wandb.Settings."""


class WandbError(Exception):
    """As wandb.Error."""


WANDB_RUNS: dict[Path, WandbRun] = {}  # folder of a run -> the run


def wandb_modules() -> dict[str, ModuleType]:
    """The module to be found in place of W&B's."""
    wandb = ModuleType("wandb")

    def init(**options):
        assert options["mode"] == "offline"
        if not Path(options["dir"]).is_dir():
            raise WandbError(f"no folder {options['dir']}")
        folder = Path(options["dir"]) / "wandb" / f"offline-run-20261129_12{len(WANDB_RUNS):04}-{options['id']}"
        folder.mkdir(parents=True)
        run = WANDB_RUNS[folder] = WandbRun(options, folder)
        return run

    wandb.init, wandb.Error, wandb.teardown = init, WandbError, lambda: None
    wandb.Settings = WandbSettings
    return {"wandb": wandb}
