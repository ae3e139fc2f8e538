"""Models that draw in more ways than torch's layers do, through the real command line."""

SUITE = '''"""Does the same command give the same bits?"""

import random
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from harness import Suite

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.hidden, self.last = nn.Linear(2, 6), nn.Linear(6, classes)
        self.scale = nn.Parameter(torch.tensor(np.random.rand(6) + random.random(), dtype=torch.float32))
    def forward(self, x):
        noise = torch.from_numpy(np.random.randn(6)).to(x) * random.random()
        hidden = F.dropout(self.hidden(x) * self.scale, 0.2) + 0.1 * torch.randn(6) + noise
        return self.last(F.rrelu(hidden, training=self.training))

def net(classes):
    return Net(classes)

suite = Suite(dataset="circles", model=net, lr=[0.03, 0.1], batch_size=100, seed=range(2), steps=12, save_models=True)
'''


def bits_of(harness, results):
    folder = harness.results.parent / results / "draws"
    models = {path.name: path.read_bytes() for path in sorted((folder / "models").iterdir())}
    return harness.tables("draws", results) | models


def test_a_model_that_draws_gives_the_same_bits_each_time_and_alone(harness):
    harness.suite(SUITE, name="draws")
    alone = ("--only", "seed=1", "--only", "lr=0.1")
    for results, *options in (("once",), ("again",), ("alone", *alone)):
        ran = harness("run", "draws", "--results", results, "--executor", "in-process", "--progress", "none", *options)
        assert ran.code == 0, ran.err
    once = bits_of(harness, "once")
    assert len(once) == 2 + 2 * 4
    assert bits_of(harness, "again") == once
    models = {
        name: data for name, data in bits_of(harness, "alone").items() if name not in harness.tables("draws", "once")
    }
    assert len(models) == 2
    assert models.items() <= once.items()
