"""`run --executor in-process`: the same bytes as from workers, and a debugger that works."""

import signal
import subprocess
import sys

import pandas as pd
import pytest

from harness.cli import main, options
from harness.execution.executors import EXECUTORS
from harness.execution.pool import WORKER_ENV
from harness.storage.records import ResultsDir, read_record
from tests.cli.conftest import TINY
from tests.cli.test_run import SLOW_ENOUGH, wait_for_training

OWN_MODEL = '''"""Does a model of the suite's own train?"""

import torch
from torch import nn

from harness import Suite


class Net(nn.Sequential):
    def forward(self, x):
        BODY
        return super().forward(x)


def net(inputs, classes, activation):
    model = Net(nn.Flatten(), nn.Linear(64, classes))
    model.is_fragile = isinstance(activation(), nn.Tanh)
    return model


suite = Suite(
    dataset="digits", model=net, activation=["relu", "tanh"], lr=[0.01, 0.1], batch_size=100, seed=range(2), steps=4,
    max_cohort_size=1,
)
'''
THREADS = '''"""Does a dataset come from one thread?"""

import numpy as np
from threadpoolctl import threadpool_info

from harness import Suite


def data():
    assert [pool for pool in threadpool_info() if pool["num_threads"] != 1] == []
    return np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 3


suite = Suite(dataset=data, model="mlp-8", lr=0.1, batch_size=10, steps=2)
'''
IN_PROCESS = ("--executor", "in-process", "--progress", "none")


def test_the_executors_of_the_command_line_are_those_that_there_are():
    assert tuple(EXECUTORS) == options.EXECUTOR_NAMES


@pytest.mark.parametrize("change", [("", ""), ("steps=12", "steps=12, threads=[1, 2], save_models=True")], ids=str)
def test_training_in_this_process_gives_the_same_bytes_as_workers(finished, harness, change):
    harness.suite(TINY.replace(*change))
    ran = harness("run", "tiny", *IN_PROCESS)
    assert (ran.code, ran.err) == (0, "")
    if change == ("", ""):
        assert harness.tables() == finished.tables()
    else:
        assert harness("run", "tiny", "--progress", "none", "--results", "pool").code == 0
        assert harness.tables() == harness.tables(results="pool")
    trials, telemetry = (pd.read_csv(harness.results / "tiny" / f"{name}.csv") for name in ("trials", "telemetry"))
    assert (trials["threads"] == telemetry["threads"]).all()


@pytest.mark.parametrize("executor", options.EXECUTOR_NAMES)
def test_every_library_has_one_thread_where_the_environment_asks_for_none(harness, monkeypatch, executor):
    for name in WORKER_ENV:
        monkeypatch.delenv(name, raising=False)
    harness.suite(THREADS)
    ran = harness("run", "tiny", "--executor", executor, "--progress", "none")
    assert (ran.code, ran.err) == (0, "")


def test_a_trial_that_fails_is_a_row_and_the_others_have_results(harness):
    body = """if self.is_fragile and len(x) == 100 and torch.is_grad_enabled() and not x.requires_grad:
            raise ValueError("out of sorts")"""
    harness.suite(OWN_MODEL.replace("BODY", body).replace("max_cohort_size=1,", ""))
    ran = harness("run", "tiny", *IN_PROCESS)
    assert ran.code == 1, ran.err
    assert "4 trials together: ValueError: out of sorts; bisecting the cohort (" in ran.err
    results_dir = ResultsDir(harness.results / "tiny")
    records = [read_record(path) for path in results_dir.records.iterdir()]
    outcomes = {(record.trial.get("activation", "relu"), record.outcome) for record in records}
    assert outcomes == {("relu", "trained"), ("tanh", "crashed")}
    assert {record.error for record in records} == {"", "ValueError: out of sorts"}
    assert any("in forward\n" in path.read_text() for path in results_dir.logs.iterdir())


def test_a_signal_saves_and_workers_go_on_from_there(harness):
    harness.suite(SLOW_ENOUGH)
    assert harness("run", "tiny", "--progress", "none", "--results", "whole").code == 0
    process = harness.start("run", "tiny", *IN_PROCESS)
    wait_for_training(harness)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (75, "")
    assert "stopped by SIGTERM: 0 of 18 trials have a result" in out
    assert any((harness.results / "tiny" / "checkpoints").glob("*.snapshot"))
    assert harness("run", "tiny", "--progress", "none").code == 0
    assert harness.tables() == harness.tables(results="whole")


def debug(harness, commands):
    """Run a suite whose model opens the debugger once in the preflight and once in training; type these commands."""
    body = "if not globals().get('stopped'):\n            globals()['stopped'] = True\n            breakpoint()"
    harness.suite(OWN_MODEL.replace("BODY", body))
    command = [sys.executable, "-m", "harness", "run", "tiny", *IN_PROCESS]
    return subprocess.run(
        command, cwd=harness.folder, input=commands, capture_output=True, text=True, timeout=240, check=False
    )


def test_a_breakpoint_in_a_model_stops_in_the_debugger(harness):
    ran = debug(harness, "p 6 * 7\nc\np tuple(x.shape[1:])\nc\n")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "(Pdb) 42\n" in ran.stdout
    assert "(Pdb) (1, 8, 8)\n" in ran.stdout
    assert "8 of 8 trials have a result" in ran.stdout


def test_quitting_the_debugger_ends_the_run_and_fails_no_trial(harness):
    ran = debug(harness, "c\nq\n")
    again = f"python -m harness run tiny {' '.join(IN_PROCESS)}"
    last_line = ran.stderr.splitlines()[-1]
    assert (ran.returncode, last_line) == (130, f"harness: the debugger was quit; go on with: {again}")
    assert not (harness.results / "tiny" / "records").exists()


def test_trials_of_several_ranks_are_skipped(harness):
    harness.suite(
        TINY.replace("steps=12", "steps=3, world_size=[1, 2]").replace(", lr=0.3)", ", lr=0.3, world_size=1)")
    )
    ran = harness("run", "tiny", *IN_PROCESS, "--only", "world_size=2")
    assert ran.code == 4, ran.err
    assert "18 skipped" in ran.out
    assert "skipped: needs 2 ranks, and --executor in-process has one" in ran.err


def test_under_torchrun_it_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.py").write_text(TINY, "utf-8")
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert main(["run", "tiny", "--executor", "in-process"]) == 2
    error = "torchrun starts the processes that train; leave --executor in-process out"
    assert capsys.readouterr().err == f"harness: {error}\n"


def test_no_process_loads_the_compiler_of_torch_unasked(harness):
    harness.suite(OWN_MODEL.replace("        BODY\n", "").replace('"relu", "tanh"', '"relu"'))
    code = (
        "import sys; from harness.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or any(name.startswith('torch._dynamo') for name in sys.modules))"
    )
    command = [sys.executable, "-c", code, "run", "tiny", *IN_PROCESS]
    ran = subprocess.run(command, cwd=harness.folder, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")  # it takes a second, in each worker anew
