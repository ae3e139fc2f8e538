"""Compiled code against the plain modules, for chains of layers of any kind."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.ensemble.native.build import library_or_error
from harness.errors import BuildError
from harness.nn.layers import RMSNorm
from tests.support.chains import (
    BATCHES,
    a_chain,
    assert_trains_and_evaluates_as_the_modules,
    unlike_copies,
)

if isinstance(library_or_error("double"), BuildError):
    pytest.skip("there is no native library", allow_module_level=True)

FLAT = nn.Flatten
CHAINS = {  # in an order that takes memory over, or gives it on, in a way of its own
    "a linear layer alone": ((5,), lambda: [nn.Linear(5, 3)]),
    "one number, one class": ((1,), lambda: [nn.Linear(1, 1)]),
    "norm first of all": ((6,), lambda: [nn.BatchNorm1d(6), nn.Linear(6, 3)]),
    "norms alone": ((6,), lambda: [nn.LayerNorm(6), nn.BatchNorm1d(6), RMSNorm(6, 1e-5, True), nn.Linear(6, 3)]),
    "group norms one behind the other": (
        (6, 4),
        lambda: [nn.GroupNorm(2, 6), nn.GroupNorm(3, 6), nn.BatchNorm1d(6), FLAT(), nn.Linear(24, 3)],
    ),
    "norm after an activation": (
        (6,),
        lambda: [nn.Linear(6, 9), nn.Sigmoid(), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 3)],
    ),
    "activation after activation": (
        (6,),
        lambda: [nn.Linear(6, 9), nn.Tanh(), nn.Sigmoid(), nn.ReLU(), nn.Linear(9, 3)],
    ),
    "activation first of all": ((6,), lambda: [nn.Sigmoid(), nn.Linear(6, 3)]),
    "pool right after a convolution": (
        (2, 7, 8),
        lambda: [nn.Conv2d(2, 5, 3, padding=1), nn.MaxPool2d(3), FLAT(), nn.Linear(20, 3)],
    ),
    "pool after pool": (
        (2, 9, 8),
        lambda: [nn.Conv2d(2, 4, 2), nn.MaxPool2d(2), nn.MaxPool2d((2, 1)), nn.ReLU(), FLAT(), nn.Linear(24, 3)],
    ),
    "pool first of all": ((3, 9), lambda: [nn.MaxPool1d(2), nn.Conv1d(3, 4, 2), FLAT(), nn.Linear(12, 3)]),
    "pool, then a norm": (
        (3, 6, 6),
        lambda: [nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.Tanh(), FLAT(), nn.Linear(16, 3)],
    ),
    "Flatten first": ((2, 3, 4), lambda: [FLAT(), nn.Linear(24, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 3)]),
    "windows wholly in the padding": (
        (2, 2, 3),
        lambda: [nn.Conv2d(2, 3, (1, 2), padding=3), nn.ReLU(), FLAT(), nn.Linear(192, 3)],
    ),
    "kernel as large as the image": (
        (3, 4, 5),
        lambda: [nn.Conv2d(3, 40, (4, 5)), nn.ReLU(), FLAT(), nn.Linear(40, 3)],
    ),
    "kernel as large as the image, padded": (
        (3, 2, 2),
        lambda: [nn.Conv2d(3, 9, 2, padding=1), nn.ReLU(), FLAT(), nn.Linear(81, 3)],
    ),
    "images without a bias": (
        (1, 5, 6),
        lambda: [
            nn.Conv2d(1, 40, 5, padding=2, bias=False),
            nn.InstanceNorm2d(40),
            nn.ReLU(),
            FLAT(),
            nn.Linear(1200, 2),
        ],
    ),
    "nested, with identities": (
        (4,),
        lambda: [
            nn.Identity(),
            nn.Sequential(nn.Linear(4, 5), nn.Sequential(nn.Identity(), nn.ReLU())),
            nn.Linear(5, 2),
        ],
    ),
}


@pytest.mark.parametrize("batch", [1, 2, 9, 33])
@pytest.mark.parametrize("name", CHAINS)
def test_chains_of_every_order_are_the_modules(name, batch):
    shape, layers = CHAINS[name]
    models = unlike_copies(nn.Sequential(*layers()), 2, seed=batch)
    assert_trains_and_evaluates_as_the_modules(models, shape, batch, seed=batch)


@given(rng=st.randoms(use_true_random=False), batch=st.sampled_from(BATCHES) | st.integers(1, 70))
@settings(max_examples=150)
def test_chains_drawn_at_random_are_the_modules(rng, batch):
    torch.manual_seed(0)
    model, shape = a_chain(rng)
    models = unlike_copies(model, rng.choice([1, 2, 3]), seed=batch)
    assert_trains_and_evaluates_as_the_modules(models, shape, batch, seed=batch)


@pytest.mark.parametrize("batch", BATCHES)
def test_so_they_are_in_single_precision_as_far_as_its_numbers_go(batch):
    rng = random.Random(batch)
    for _ in range(3):
        model, shape = a_chain(rng)
        models = unlike_copies(model, 2, seed=batch, dtype=torch.float32)
        if not any(isinstance(layer, nn.ReLU | nn.MaxPool1d | nn.MaxPool2d) for layer in model):  # which jump
            assert_trains_and_evaluates_as_the_modules(models, shape, max(batch, 3), seed=batch, tolerance=2e-3)


@pytest.mark.parametrize("channels", range(1, 41))
def test_any_number_of_channels(channels):
    norms = [nn.BatchNorm1d(channels), nn.GroupNorm(channels if channels % 2 else 2, channels)]
    model = nn.Sequential(nn.Linear(channels, channels), norms[channels % 2], nn.Tanh(), nn.Linear(channels, channels))
    models = unlike_copies(model, 2, seed=channels)
    assert_trains_and_evaluates_as_the_modules(models, (channels,), 11, seed=channels)
    model = nn.Sequential(nn.Conv1d(channels, channels, 3, padding=1), nn.Tanh(), FLAT(), nn.Linear(5 * channels, 2))
    assert_trains_and_evaluates_as_the_modules(unlike_copies(model, 2, seed=channels), (channels, 5), 11, seed=channels)
