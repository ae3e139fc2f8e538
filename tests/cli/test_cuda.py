"""The command line on a GPU: equal tables, out of memory that is one trial's alone, models that leave for a CPU."""

import pandas as pd
import pytest
import torch

import harness as package
from tests.cli.conftest import TINY

pytestmark = pytest.mark.cuda

DEVICE = "cuda"
GREEDY = '''"""Does one trial that asks for too much leave the others be?"""

import torch
from torch import nn

from harness import Suite


class Greedy(nn.Module):
    def __init__(self, classes, inputs, activation):
        super().__init__()
        self.inner = nn.Linear(64, classes)
        self.takes = 2**44 if isinstance(activation(), nn.Tanh) else 1

    def forward(self, x):
        if x.device.type == "DEVICE":
            torch.empty(self.takes, device=x.device)
        return self.inner(x.flatten(1))


def greedy(inputs, classes, activation):
    return Greedy(classes, inputs, activation)


suite = Suite(
    dataset="digits", model=greedy, activation=["relu", "tanh"], lr=0.1, batch_size=100, seed=range(2), steps=4,
)
'''.replace("DEVICE", DEVICE)


def run(harness, *words):
    return harness("run", *words, "--progress", "none", "--device", DEVICE)


def test_the_tables_are_the_same_for_any_number_of_workers(harness):
    harness.suite()
    assert run(harness, "tiny").code == 0
    assert run(harness, "tiny", "--workers", "3", "--results", "again").code == 0
    assert harness.tables() == harness.tables(results="again")
    telemetry = pd.read_csv(harness.results / "tiny" / "telemetry.csv")
    assert (telemetry["peak_memory_mb"] > 0).all()
    assert set(pd.read_csv(harness.results / "tiny" / "trials.csv")["device"]) == {DEVICE}


def test_out_of_memory_is_the_result_of_those_that_asked_for_too_much(harness):
    harness.suite(GREEDY)
    ran = run(harness, "tiny")
    assert ran.code == 1, ran.err
    table = pd.read_csv(harness.results / "tiny" / "trials.csv")
    assert set(table.loc[table["activation"] == "tanh", "status"]) == {"oom"}
    assert set(table.loc[table["activation"] == "relu", "status"]).isdisjoint({"oom", "crashed"})


def test_a_model_trained_on_a_gpu_works_on_a_cpu(harness, monkeypatch):
    harness.suite(TINY.replace("steps=12,", "steps=12, save_models=True,"))
    assert run(harness, "tiny", "--only", "seed=0").code == 0
    key = pd.read_csv(harness.results / "tiny" / "trials.csv").query("lr == 0.3")["key"].iloc[0]
    monkeypatch.chdir(harness.folder)
    for form in ("checkpoint", "safetensors"):
        made = harness("export", key, "--format", form, "-o", f"model.{form}")
        assert made.code == 0, made.err
        model = package.load_model(harness.folder / f"model.{form}")
        assert {tensor.device.type for tensor in model.state_dict().values()} == {"cpu"}
        assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 10)


def test_doctor_names_the_gpu_and_what_else_it_needs(harness):
    said = harness("doctor").out
    for word in ("gpu 0", "capability", "driver", "nccl"):
        assert word in said
