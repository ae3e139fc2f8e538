"""Whatever a model changes in its process is as before when the next trial begins."""

import os
import random
import signal
import sys

import numpy as np
import pytest
import torch
from torch import nn

from harness.execution.containment.process_state import SETTINGS, preserved


def read():
    return {name: setting[0]() for name, setting in SETTINGS.items()}


DEEDS = {
    "default dtype": lambda folder: torch.set_default_dtype(torch.float64),
    "default device": lambda folder: torch.set_default_device("meta"),
    "gradients": lambda folder: torch.set_grad_enabled(False),
    "autocast": lambda folder: torch.set_autocast_enabled("cpu", True),
    "anomaly detection": lambda folder: torch.set_anomaly_enabled(True),
    "deterministic algorithms": lambda folder: torch.use_deterministic_algorithms(True),
    "threads": lambda folder: torch.set_num_threads(3),
    "precision of products": lambda folder: torch.set_float32_matmul_precision("medium"),
    "generator of torch": lambda folder: torch.rand(3),
    "_global_forward_hooks of modules": lambda folder: nn.modules.module.register_module_forward_hook(print),
    "errors of numpy": lambda folder: np.seterr(all="raise"),
    "generator of numpy": lambda folder: np.random.rand(),  # noqa: NPY002 (what a model may do)
    "generator of Python": lambda folder: random.random(),
    "variables": lambda folder: os.environ.update(HARNESS_TEST="1"),
    "folder": os.chdir,
    "mask of new files": lambda folder: os.umask(0o777),
    "handlers of signals": lambda folder: signal.signal(signal.SIGUSR2, signal.SIG_IGN),
    "limit of recursion": lambda folder: sys.setrecursionlimit(5000),
    "path of modules": lambda folder: sys.path.insert(0, "/nowhere"),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_what_a_model_changes_is_put_back(tmp_path, deed):
    before = read()
    with preserved():
        DEEDS[deed](tmp_path)
        assert not same(before[deed], SETTINGS[deed][0]()), "the deed must be one"
    after = read()
    assert [name for name in before if not same(before[name], after[name])] == []


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, tuple) and any(isinstance(part, np.ndarray) for part in one):
        return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    return one == other


SPOILING = '''"""Does one model spoil the other?"""
import torch
from torch import nn
from harness import Suite

class Net(nn.Sequential):
    def forward(self, x):
        out = super().forward(x)
        DEED
        return out

def spoiler(classes):
    return Net(nn.Flatten(), nn.Linear(64, classes))

suite = Suite(dataset="digits", model=[spoiler, "mlp-8"], lr=0.1, batch_size=100, steps=3)
'''


@pytest.mark.parametrize("deed", ["torch.set_default_dtype(torch.float64)", "torch.set_grad_enabled(False)"])
def test_a_model_that_changes_its_process_leaves_the_other_trials_as_they_are(harness, deed):
    tables = {}
    for name in ("pass", deed):
        harness.suite(SPOILING.replace("DEED", name))
        ran = harness("run", "tiny", "--workers", "1", "--progress", "none", "--results", name[:20])
        assert ran.code in (0, 1), ran.err
        lines = harness.tables(results=name[:20])["trials.csv"].decode().splitlines()
        (tables[name],) = [line for line in lines if "mlp-8" in line]
    assert tables["pass"] == tables[deed]
