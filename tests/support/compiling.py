"""Trains with compiled steps and without, in a process where shapes are not checked: a compiler cannot follow that.

Prints the largest difference of any tensor, for each of the settings: python -m tests.support.compiling BACKEND DEVICE
"""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from harness.data.datasets import load_dataset
from harness.ensemble.backends import base
from harness.spec.trial import Trial
from harness.training.loop import train
from harness.training.state import init_state

SETTINGS = [{"max_cohort_size": 1}, {"memory_format": "channels_last"}]
IMAGES = Trial(
    dataset="digits", model="cnn-4-8", norm="batch", lr=0.1, batch_size=100, momentum=0.9, steps=3, eval_every=2,
    precision="float64", device=sys.argv[2],
)  # fmt: skip


def trained(trials):
    state = init_state(trials, load_dataset("digits", Path(), {}), torch.device(sys.argv[2]), {})
    for _ in train(state):
        pass
    return {name: tensor.detach() for name, tensor in state.tensors.items()}, state.ensemble.backend.compiled


def difference(settings):
    trials = [replace(IMAGES, seed=seed, **settings) for seed in range(1 if "max_cohort_size" in settings else 2)]
    plain, _ = trained(trials)
    found, compiled = trained([replace(trial, compile=True) for trial in trials])
    assert compiled is not None
    return max((found[name] - tensor).abs().nan_to_num(0).max().item() for name, tensor in plain.items())


if __name__ == "__main__":
    base.compiled = partial(torch.compile, backend=sys.argv[1])
    print(json.dumps([difference(settings) for settings in SETTINGS]))
