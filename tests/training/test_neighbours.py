"""A model's bits are its own: they don't depend on the size of its cohort, on its place in it, or on who is there."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from harness.ensemble.backends import BACKENDS
from harness.ensemble.backends.base import NotStackableError
from harness.spec.trial import BATCH_NORMS, Trial
from harness.training import state as state_module
from harness.training.best_checkpoint import keep_best
from harness.training.loop import train
from harness.training.results import outcomes
from harness.training.state import init_state
from tests.support.images import small_images

CPU = torch.device("cpu")
DATA = small_images(197, 101, 33, dtype="float32")  # no number of examples fills whole vectors
BASE = Trial(
    dataset="small", model="mlp-10-6", lr=0.1, batch_size=30, steps=4, norm_groups=2, eval_every=3, device="cpu"
)
MODELS = 9
BY_ITSELF = [name for name in BACKENDS if name != "ddp"]  # that takes one model alone


class OwnCode(nn.Module):
    """A model with a weight of its own, which can't be stacked."""

    def __init__(self, classes, norm):
        super().__init__()
        self.hidden, self.norm, self.last = nn.Linear(30, 13), norm(13), nn.Linear(13, classes)
        self.scale, self.dropout = nn.Parameter(torch.ones(13)), nn.Dropout(0.3)

    def forward(self, x):
        hidden = self.dropout(self.norm(self.hidden(x.flatten(1))))
        return self.last(nn.functional.silu(hidden) * self.scale)


def with_dropout(classes):
    layers = [nn.Conv2d(1, 6, 3), nn.GELU(), nn.Dropout2d(0.3), nn.Flatten(), nn.Dropout(0.2), nn.Linear(72, classes)]
    return nn.Sequential(*layers)


OWN = {"own_code": OwnCode, "with_dropout": with_dropout}
KINDS = {
    "none": {},
    "batch": {"norm": "batch", "momentum": 0.9, "model": "mlp-16x2", "batch_size": 32},
    "full batch": {"norm": "batch", "batch_size": 101, "model": "mlp-16-8"},
    "sigmoid": {"activation": "sigmoid", "optimizer": "adamw"},
    "ghost batch": {"norm": "ghost_batch", "norm_batch": 5, "model": "resmlp-12x2"},
    "weights standardised": {"norm": "ws_group", "precision": "float64"},
    "images": {"model": "cnn-8-16", "norm": "batch", "batch_size": 32},
    "images, instance": {"model": "cnn-6", "norm": "instance", "augment": "flip+crop"},
    "one example": {"model": "mlp-64-32", "batch_size": 1},
    "resnet": {"model": "resnet-8x4", "norm": "layer", "steps": 2, "accumulation_steps": 2},
    "residual scale": {"model": "resnet-8x4", "norm": "skipinit"},
    "bfloat16": {"model": "cnn-6-10", "norm": "group", "precision": "bfloat16"},
    "transformer": {"model": "vit-6x2", "norm": "layer", "norm_position": "post", "activation": "gelu"},
    "query-key norm": {"model": "vit-16", "norm": "rms", "qk_norm": True, "causal": True, "batch_size": 1},
    "transformer, batch": {"model": "vit-8", "norm": "batch"},
    "dropout": {"model": "with_dropout"},
    "own code": {"model": "own_code", "norm": "rms"},
    "probes": {"model": "mlp-10x3", "probes": "gradients+landscape", "probe_every": 4},
}


def trials_of(kind):
    """Trials that differ in all that each model has of its own."""
    trial = replace(BASE, **KINDS[kind])
    momentum = 0.9 if trial.optimizer == "sgd" else 0.0
    return [
        replace(
            trial,
            seed=i // 2,
            lr=trial.lr * (1 + i % 3),
            momentum=momentum * (i % 2),
            weight_decay=1e-3 * (i % 4),
            decay_norms=i % 3 > 0,
            max_grad_norm=[None, 0.1, 1.0][i % 3],
            label_noise=0.1 * (i % 2),
            init=["default", "he"][i > 4],
        )
        for i in range(MODELS)
    ]


def results(trials):
    """Facts, curves and all tensors of each trial, which trained together."""
    state = keep_best(init_state(trials, DATA, CPU, OWN))
    for _ in train(state):
        pass
    tensors = {**state.model_state, **{f"best/{name}": tensor for name, tensor in state.best.items()}}
    return [
        (outcome.facts, outcome.curves, {name: tensor[i].detach().clone() for name, tensor in tensors.items()})
        for i, outcome in enumerate(outcomes(state))
    ]


def is_promised(backend, kind):
    """Whether the README promises it: under vmap a batch norm's sums depend on how many models there are."""
    return backend != "vmap" or replace(BASE, **KINDS[kind]).norm not in BATCH_NORMS


def assert_same_bits(found, expected):
    assert found[:2] == expected[:2]
    for name, tensor in found[2].items():
        # What one model alone has no use for, a momentum of zero, is not there.
        if name in expected[2]:
            assert torch.equal(tensor, expected[2][name]), name


def cut(trials, rng):
    """The trials in random cohorts and a random order; the first is alone."""
    rows = rng.sample(range(len(trials)), len(trials))
    edges = [0, 1, *sorted(rng.sample(range(2, len(rows)), 2)), len(rows)]
    return [rows[low:high] for low, high in pairwise(edges)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", BY_ITSELF)
def test_no_bit_of_a_model_depends_on_its_cohort(monkeypatch, backend, kind):
    if not is_promised(backend, kind):
        pytest.skip("the README says that it is not promised")
    monkeypatch.setattr(state_module, "fastest_backend", lambda *args: backend)
    trials, rng = trials_of(kind), random.Random(kind)
    try:
        together = results(trials)
    except NotStackableError as error:
        pytest.skip(str(error))
    for _ in range(2):
        for rows in cut(trials, rng):
            for row, found in zip(rows, results([trials[row] for row in rows]), strict=True):
                assert_same_bits(found, together[row])


@pytest.mark.parametrize("kind", ["batch", "images", "dropout", "own code"])
def test_nor_does_it_where_the_backend_is_chosen(kind):
    trials, rng = trials_of(kind), random.Random(kind)
    together = results(trials)
    for rows in cut(trials, rng):
        for row, found in zip(rows, results([trials[row] for row in rows]), strict=True):
            assert_same_bits(found, together[row])
