"""Models of a suite's own through the command line: saved and loaded as they are, or refused before training."""

import re

import pytest

from tests.cli.conftest import CommandLine

SUITE = '''"""Q?"""
import torch
from torch import nn
from harness import Suite

class Odd(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("mean", torch.zeros(2, dtype=torch.bfloat16), persistent=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.int32))
    def forward(self, x):
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(x.mean(0).bfloat16(), 0.5)
                self.count.add_(1)
        return super().forward(x - self.mean.float())
    def get_extra_state(self):
        return {extra}
    def set_extra_state(self, state):
        assert state == self.get_extra_state()

class Wrapper(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module
    def forward(self, x):
        return self.module(x)

def net(inputs, classes, norm):
    sizes = [int(size.item()) for size in torch.linspace(6, 6, 1)]
    last = nn.Linear(6, classes)
    return Wrapper(nn.Sequential(Odd(2, *sizes), norm(6), nn.ReLU(), {last}))

suite = Suite(dataset="circles", model=net, norm="batch", lr=0.1, batch_size=50, seed=range(2), steps=40,
              save_models=True)
'''


@pytest.fixture
def command(tmp_path) -> CommandLine:
    return CommandLine(tmp_path)


def odd(command, extra='{"scale": (1, torch.ones(1).item())}', last="last"):
    command.suite(SUITE.replace("{extra}", extra).replace("{last}", last))


def test_a_saved_model_comes_back_with_the_accuracy_that_it_had(command):
    odd(command)
    ran = command("run", "tiny", "--executor", "in-process")
    assert ran.code == 0, ran.err
    rows = command.tables()["trials.csv"].decode().splitlines()
    table = [dict(zip(rows[0].split(","), row.split(","), strict=True)) for row in rows[1:]]
    for form in ("state_dict", "checkpoint", "safetensors"):
        row = table[-1]
        assert command("export", row["key"], "--format", form, "-o", f"m.{form}").code == 0
        predicted = command("predict", f"m.{form}", "circles", "--suite", "tiny")
        assert predicted.code == 0, predicted.err
        (accuracy,) = re.findall(r"accuracy ([0-9.]+),", predicted.out)
        assert float(accuracy) == pytest.approx(float(row["test_accuracy"]), abs=5e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"last": "nn.LazyLinear(classes)"}, "'module.3' (LazyLinear) is lazy"),
        ({"last": "last.to(torch.complex64)"}, "its parameter 'module.3.weight' is torch.complex64"),
        ({"extra": "{1, 2}"}, "can't be saved: ValueError: a set is no tensor"),
        ({"extra": "1 / 0"}, "can't be saved: ZeroDivisionError"),
        ({"extra": "torch.rand(1)"}, "can't be saved: "),
    ],
)
def test_what_can_not_be_trained_or_saved_is_refused_before_training(command, changes, said):
    odd(command, **changes)
    ran = command("run", "tiny", "--executor", "in-process")
    assert (ran.code, ran.err.count("\n")) == (2, 1), ran.err
    assert said in ran.err
    assert not list(command.results.glob("*/records/*"))
