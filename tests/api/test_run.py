"""A suite run from Python: the same results as from the command line, from scripts, threads and notebooks."""

import inspect
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from torch import nn

import harness
from harness.api import results
from harness.errors import EmptySelection, HarnessError, MachineError, UsageError
from harness.storage.tables import FOUND_IN_CURVES, KNOWN_BEFORE
from tests.support.processes import marked, wait_for

AXES = {"norm": ["batch", "none"], "lr": [0.03, 0.3], "batch_size": 100, "seed": range(3), "steps": 12}
FILE = f'''"""Is it the same?"""
from harness import Suite
suite = Suite(dataset="digits", model="mlp-16", **{AXES!r})
'''


def rings():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    return x, (np.hypot(*x.T) > 1).astype(int)


def net(inputs, classes, norm, activation):
    return nn.Sequential(nn.Linear(inputs[0], 8), norm(8), activation(), nn.Linear(8, classes))


def declared(**changes):
    return harness.Suite(**{**AXES, "dataset": "digits", "model": "mlp-16", **changes})


@pytest.fixture(scope="module")
def from_a_file(tmp_path_factory) -> harness.Results:
    folder = tmp_path_factory.mktemp("file")
    (folder / "same.py").write_text(FILE, "utf-8")
    return harness.run(folder / "same.py", results=folder / "results", progress=False)


def test_a_suite_declared_in_python_has_the_trials_and_the_bits_of_one_in_a_file(from_a_file, tmp_path, capfd):
    found = harness.run(declared(), name="same", question="Is it the same?", results=tmp_path / "results")
    pd.testing.assert_frame_equal(found.trials, from_a_file.trials)
    pd.testing.assert_frame_equal(found.curves, from_a_file.curves)
    assert found.question == from_a_file.question == "Is it the same?"
    assert "12 of 12 trials have a result" in capfd.readouterr().out
    again = harness.load(tmp_path / "results/same")
    pd.testing.assert_frame_equal(again.trials, found.trials)


def test_functions_that_a_program_declares_train_in_workers(tmp_path):
    suite = declared(dataset=rings, model=net, lr=0.3, claims=[harness.Claim.better("batch", than="none", by=0.01)])
    found = harness.run(suite, name="mine", results=tmp_path, only={"seed": [0, 1]}, workers=1)
    ended = found.trials["status"] != "interrupted"
    assert set(found.trials.loc[ended, "seed"]) == {0, 1}
    assert set(found.trials.loc[~ended, "seed"]) == {2}
    assert found.trials["source"].str.fullmatch(r"[0-9a-f]{16}\+[0-9a-f]{16}").all()
    assert list(found.verdicts.columns) == ["verdict", "claim", "why"]
    assert found.verdicts["claim"].tolist() == ["batch has a higher test accuracy than none, by more than 1.0 points"]
    assert len(found.comparisons) == len(pd.read_csv(tmp_path / "mine/comparisons.csv"))
    assert found.report() == tmp_path / "mine/report/index.html"
    assert {"claim_1", "curves"} <= set(found.figures())
    page = found._repr_html_()
    assert all(word in page for word in ("mine", "<table>", "by more than 1.0 points", "data:image/png;base64,"))
    assert "by more than 1.0 points" in repr(found)


def test_own_training_is_declared_in_python_and_a_program_that_has_changed_is_run_again(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "__file__", str(tmp_path / "script.py"))
    monkeypatch.chdir(tmp_path)
    factor = 2

    def fit(trial, log, checkpoint):
        del checkpoint
        log(1, loss=factor)
        return {"points": factor * trial.seed}

    def points():
        program = harness.command("python train.py --seed {seed}")
        outcomes = {"points": harness.Metric(higher_is_better=True)}
        suite = harness.Suite(train=[fit, program], seed=range(2), outcomes=outcomes)
        trials = harness.run(suite, name="own", progress=False).trials
        return dict(zip(zip(trials["train"], trials["seed"], strict=True), trials["points"], strict=True))

    text = "import json, lib\nprint(json.dumps({'points': lib.points}))"
    Path("train.py").write_text(text, "utf-8")
    Path("lib.py").write_text("points = 5", "utf-8")
    assert points() == {("fit", 0): 0, ("fit", 1): 2, ("train", 0): 5, ("train", 1): 5}
    Path("lib.py").write_text("points = 6", "utf-8")
    assert points() == {("fit", 0): 0, ("fit", 1): 2, ("train", 0): 6, ("train", 1): 6}


def test_a_sample_is_trained_again_and_what_came_of_it_can_be_asked(from_a_file, tmp_path, capfd):
    shutil.copytree(from_a_file.folder, tmp_path / "same")
    assert from_a_file.rechecked.empty
    found = harness.run(from_a_file.folder.parents[1] / "same.py", results=tmp_path, recheck=5, executor="in-process")
    assert "trained again: 5 of 12 results; 5 equal to the bit" in capfd.readouterr().out
    assert found.rechecked["equal"].tolist() == [True] * 5
    assert {*found.rechecked["key"]} < {*found.trials["key"]}


def test_a_run_until_decided_adds_seeds_where_a_claim_has_no_word(tmp_path):
    claims = [harness.Claim.better("batch", than="none", by=0.9)]
    suite = declared(dataset="circles", model="mlp-4", lr=0.1, batch_size=1400, seed=range(2), steps=2, claims=claims)
    options = {"name": "more", "results": tmp_path, "executor": "in-process", "progress": False}
    found = harness.run(suite, until_decided=True, max_seeds=3, **options)
    assert set(found.trials["seed"]) == {0, 1, 2}
    assert "Looked at with 2 seeds: descriptive; with 3: descriptive." in found.verdicts["why"][0]
    with pytest.raises(UsageError, match="--max-seeds was 3"):
        harness.run(suite, until_decided=True, max_seeds=4, **options)


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        ({"suite": "nowhere"}, UsageError, "no suite file nowhere.py"),
        ({"suite": 3}, UsageError, "suite must be a Suite or the path of a suite file, got int"),
        ({"name": "a b"}, UsageError, "name must be letters"),
        ({"only": {"norm": "batsh"}}, UsageError, "did you mean batch"),
        ({"only": {"lr": []}}, UsageError, "lr needs a value"),
        ({"device": "cuda:77"}, MachineError, "not on this machine"),
        ({"workers": 0}, UsageError, "--workers must be"),
        ({"retry": "cashed"}, UsageError, "--retry takes statuses without a result, got 'cashed'"),
        ({"recheck": 0}, UsageError, "--recheck must be a share such as 2% or a number of trials from 1 up, got '0'"),
        ({"max_seeds": 9}, UsageError, "--max-seeds is for --until-decided"),
        ({"until_decided": True, "only": {"seed": 0}}, UsageError, "leave --only out"),
        ({"executor": "cloud"}, UsageError, "cloud"),
        ({"executor": "dask", "workers": 2}, UsageError, "needs --scheduler"),
        ({"executor": "dask", "time_budget": "2h"}, UsageError, "time_budget is for what trains here"),
        ({"suite": declared(model="mlp-0")}, UsageError, "a layer of size 0"),
        ({"suite": declared(dataset="mine.npz")}, UsageError, "give a function that loads it"),
    ],
    ids=[
        "file",
        "type",
        "name",
        "only",
        "empty",
        "device",
        "workers",
        "retry",
        "recheck",
        "seeds",
        "part",
        "executor",
        "scheduler",
        "budget",
        "model",
        "data",
    ],
)
def test_what_is_wrong_is_an_error_of_ours(words, error, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=says) as raised:
        harness.run(**{"suite": declared(), **words})
    assert isinstance(raised.value, HarnessError)
    assert not isinstance(raised.value, EmptySelection)


def test_it_runs_in_a_thread_and_an_interrupt_saves_and_goes_on_to_the_same_bits(from_a_file, tmp_path):
    results = tmp_path / "results"
    slow = declared(steps=10**6, norm=["batch"], lr=0.3, seed=0)
    begun = threading.Thread(
        target=lambda: (
            wait_for(lambda: any(results.glob("slow/checkpoints/*.snapshot"))),
            os.kill(os.getpid(), signal.SIGINT),
        )
    )
    begun.start()
    with pytest.raises(KeyboardInterrupt):
        harness.run(slow, name="slow", results=results)
    begun.join()
    wait_for(lambda: not marked(str(results)))
    found = []
    thread = threading.Thread(target=lambda: found.append(harness.run(declared(), name="same", results=results)))
    thread.start()
    thread.join()
    pd.testing.assert_frame_equal(found[0].trials, from_a_file.trials)


def test_a_script_without_a_main_guard_runs_and_what_it_started_ends_when_it_is_killed(tmp_path):
    (tmp_path / "script.py").write_text(
        "import harness\nsuite = harness.Suite(dataset='digits', model='mlp-16', norm='batch', lr=0.1, batch_size=100,"
        f" steps=10**7)\nharness.run(suite, name='long', results={str(tmp_path / 'results')!r})\n",
        "utf-8",
    )
    with subprocess.Popen([sys.executable, tmp_path / "script.py"], stdout=subprocess.DEVNULL) as script:
        wait_for(lambda: any(tmp_path.glob("results/long/checkpoints/*.snapshot")))
        script.kill()
    wait_for(lambda: not marked(str(tmp_path)))


def test_the_public_names_stay():
    """What users import: a name may be added here and in the docs, and one that is taken away breaks their programs."""
    assert set(harness.__all__) == {
        *(
            "Claim",
            "Metric",
            "Results",
            "Streamed",
            "Suite",
            "batch_norm_gradient_growth",
            "command",
            "figures",
            "load",
        ),
        *("load_checkpoint", "load_model", "log_grid", "results", "run"),
    }
    assert {name for name in dir(harness.Results) if not name.startswith("_")} == {
        *("comparisons", "curves", "figures", "folder", "question", "rechecked", "report", "telemetry", "trials"),
        "verdicts",
    }
    assert set(inspect.signature(harness.run).parameters) == {
        *("suite", "name", "question", "results", "only", "workers", "device", "executor", "executor_options"),
        *("scheduler", "retry", "fresh", "time_budget", "recheck", "progress", "until_decided", "max_seeds"),
    }
    page = (Path(__file__).parents[2] / "docs/api.md").read_text("utf-8")
    assert [name for name in harness.__all__ if f"::: harness.{name}\n" not in page] == []


def test_every_column_is_documented(from_a_file):
    page = (Path(__file__).parents[2] / "docs/api.md").read_text("utf-8")
    names = ("curves", "telemetry", "verdicts", "comparisons", "rechecked")
    frames = [getattr(from_a_file, name) for name in names]
    columns = [*FOUND_IN_CURVES, *KNOWN_BEFORE, *(column for frame in frames for column in frame)]
    assert [column for column in columns if f"`{column}`" not in page] == []


def test_showing_results_draws_their_figures_once(from_a_file, monkeypatch):
    drawn = []
    draw = results.report_figures
    monkeypatch.setattr(results, "report_figures", lambda tables: drawn.append(1) or draw(tables))
    shown = harness.load(from_a_file.folder)
    assert shown._repr_html_() == shown._repr_html_()
    assert len(shown.comparisons) == len(shown.comparisons) > 0
    assert drawn == [1]


def test_figures_are_on_axes_to_restyle_and_fresh_each_time(from_a_file):
    ours, again = harness.figures(from_a_file), harness.figures(str(from_a_file.folder))
    assert ours.keys() == again.keys() != set()
    for name, figure in ours.items():
        assert figure.axes
        assert figure is not again[name]
    with pytest.raises(UsageError, match="figures needs Results or the folder of results, got int"):
        harness.figures(3)
    with pytest.raises(UsageError, match="no results in"):
        harness.figures(from_a_file.folder.parent)
