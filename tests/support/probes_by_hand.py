"""What a probe measured of trained models, and what it takes to measure the same by hand: modules, batches, layers."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from harness.data.datasets import load_dataset
from harness.nn.models import build
from harness.rng import generator
from harness.spec.trial import Trial
from harness.training.loop import train
from harness.training.state import init_state

CPU = torch.device("cpu")
SIZE, STEPS = 25, 4
BASE = Trial(
    dataset="digits", model="mlp-6x2", lr=0.1, batch_size=SIZE, steps=STEPS, momentum=0.5, schedule="cosine",
    warmup_steps=1, norm_groups=2, eval_every=9, init="he", device="cpu",
)  # fmt: skip
DATA = {name: load_dataset(name, Path(), {}) for name in ("digits", "circles")}
NETS = [("mlp-6x2", "none"), ("mlp-6x2", "batch"), ("mlp-6x2", "layer"), ("mlp-6x2", "rms"), ("cnn-4-6", "batch")]
NETS += [("cnn-4-6", "group"), ("cnn-4-6", "ws_group")]
together = pytest.mark.parametrize("together", [None, 1], ids=["cohort", "alone"])
nets = pytest.mark.parametrize(("model", "norm"), NETS)


@cache
def probed(probe, together, **changes):
    """The state of trained models, and what the probe measured after the last step, for each model."""
    trials = [
        replace(BASE, probes=probe, max_cohort_size=together, seed=s, lr=0.1 + s / 10, **changes) for s in range(3)
    ]
    state = init_state(trials[: together or 3], DATA[trials[0].dataset], CPU, {})
    for _ in train(state):
        pass
    values = {name: curve[-1] for name, curve in state.curves.items() if name.startswith("probe.")}
    assert values
    assert all(torch.isfinite(value).all() for name, value in values.items() if "growth" not in name)
    found = [{n.removeprefix("probe."): v[i].item() for n, v in values.items()} for i in range(len(state.trials))]
    return state, found


def plain(state, i):
    """The model as it was when it was last probed: a plain module in training mode."""
    model = build(state.trials[i], state.dataset.input_shape, state.dataset.classes, {})
    tensors = {**state.ensemble.weights, **state.ensemble.buffers}
    model.load_state_dict({name: tensor[i].detach() for name, tensor in tensors.items()})
    return model.train()


def examples(state, order):
    x, y = (torch.from_numpy(array["train"]) for array in (state.dataset.x, state.dataset.y))
    return x[order], y[order]


def fixed_batch(state, i):
    """The first examples of an order that depends on the seed alone."""
    count = state.dataset.size("train")
    return examples(state, torch.randperm(count, generator=generator(state.trials[i].seed, "probe"))[:SIZE])


def next_batch(state, i):
    """What the update after the last would have learnt from."""
    count = state.dataset.size("train")
    epoch, number = divmod(STEPS, count // SIZE)
    order = torch.randperm(count, generator=generator(state.trials[i].seed, "order", epoch))
    return examples(state, order[number * SIZE : (number + 1) * SIZE])


def weighted(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def inputs_of(model, kinds, x):
    """What the layers of these kinds are given, one after the other, by running a net that is a row of layers."""
    found = []
    for layer in model:
        if isinstance(layer, kinds):
            found.append(x.detach().clone())
        x = layer(x)
    return found
