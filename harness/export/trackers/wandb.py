"""Runs for Weights & Biases: a project for the suite, a run for each trial, offline.

Nothing is sent: `wandb sync` does that for whoever is logged in. A run is named by the key of its trial for the server,
too, where what is sent twice stays one run.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

import wandb

from harness.errors import MachineError, error_line
from harness.export.trackers import Written
from harness.export.trackers.tracked_trial import TrackedTrial
from harness.io import make_folder

RUNS = "wandb"  # the folder that W&B keeps its runs in
OFFLINE = "offline-run-*-"  # how the folder of a run begins, before its name


def write(suite: str, trials: Iterable[TrackedTrial], output: Path | None) -> Written:
    """Write an offline run for each trial, in place of the one written earlier; runs of others stay as they are.

    They go into `output`/wandb, else into wandb/ in the current folder. Raises MachineError where W&B can't write.
    """
    folder = output or Path()
    make_folder(folder)
    n_runs = n_replaced = 0
    try:
        for trial in trials:
            earlier = list((folder / RUNS).glob(f"{OFFLINE}{trial.key}"))
            for run in earlier:
                shutil.rmtree(run)
            _write_run(suite, trial, folder)
            n_runs += 1
            n_replaced += bool(earlier)
    except wandb.Error as error:
        raise MachineError(f"W&B can't write to {folder}: {error_line(error)[:300]}") from error
    finally:
        wandb.teardown()
    return Written(
        n_runs=n_runs,
        n_replaced=n_replaced,
        place=str(folder / RUNS),
        look=f"wandb sync {folder / RUNS / 'offline-run-*'}",
    )


def _write_run(suite: str, trial: TrackedTrial, folder: Path) -> None:
    run = wandb.init(
        mode="offline",
        project=suite,
        id=trial.key,
        name=trial.key,
        group=trial.arm,
        tags=[trial.status],
        config=dict(trial.settings),
        dir=str(folder),
        reinit="return_previous",
        settings=_quiet(),
    )
    for step, values in trial.curves.items():
        run.log(dict(values), step=step)
    run.summary.update(dict(trial.outcomes))
    run.finish(exit_code=0 if trial.has_result else 1)


def _quiet() -> wandb.Settings:
    """Settings by which W&B prints nothing and doesn't describe this machine: it need not be where trials trained."""
    return wandb.Settings(
        console="off",
        silent=True,
        disable_git=True,
        save_code=False,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )
