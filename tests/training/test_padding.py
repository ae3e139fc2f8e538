"""Training on sequences of unlike lengths is a plain loop over torch's cross-entropy with ignore_index."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harness.nn.models import build
from harness.spec.trial import Trial
from harness.training.epochs import micro_batches
from harness.training.loop import train
from harness.training.state import init_state
from tests.support.streamed import loaded

CPU, VOCABULARY, LENGTH = torch.device("cpu"), 11, 7
RNG = np.random.default_rng(0)
X = RNG.integers(0, VOCABULARY, (60, LENGTH))
Y = np.where(np.arange(LENGTH) < RNG.integers(1, LENGTH + 1, (len(X), 1)), X % 5, -100)
TRIAL = Trial(
    dataset="own",
    task="sequence",
    model="transformer-8x1",
    norm="layer",
    lr=0.1,
    batch_size=10,
    steps=7,
    eval_every=7,
    device="cpu",
    precision="float64",
)
TRIALS = {"plain": {}, "in parts": {"accumulation_steps": 3}, "all at once": {"batch_size": 33}}


def data():
    return loaded({"x": X, "y": Y, "vocabulary": VOCABULARY}, task="sequence")


def trained(trials, *dist):
    state = init_state(trials, data(), CPU, {}, *dist)
    for _ in train(state):
        pass
    return {name: curve[-1] for name, curve in state.curves.items()}


def by_hand(trial):
    """The last test loss and accuracy of a plain loop."""
    dataset = data()
    model = build(trial, dataset.input_shape, dataset.outputs, {}, VOCABULARY).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=trial.lr)
    x, y = ({split: torch.from_numpy(array) for split, array in arrays.items()} for arrays in (dataset.x, dataset.y))
    for parts in micro_batches(init_state([replace(trial, world_size=1)], dataset, CPU, {}), 0):
        rows = torch.cat([part.indices[0] for part in parts]) if parts else torch.arange(len(x["train"]))
        optimizer.zero_grad()
        F.cross_entropy(model(x["train"][rows]).mT, y["train"][rows], ignore_index=-100).backward()
        optimizer.step()
    with torch.no_grad():
        out, is_real = model(x["test"]), y["test"] != -100
        loss = F.cross_entropy(out.mT, y["test"], ignore_index=-100)
        return loss.item(), (out.argmax(2) == y["test"])[is_real].double().mean().item()


@pytest.mark.parametrize("settings", TRIALS.values(), ids=TRIALS)
def test_a_cohort_learns_what_a_plain_loop_learns(settings):
    trials = [replace(TRIAL, **settings, seed=seed, lr=0.1 * (1 + seed)) for seed in range(3)]
    curves = trained(trials)
    for model, trial in enumerate(trials):
        loss, accuracy = by_hand(trial)
        assert curves["test.loss"][model].item() == pytest.approx(loss, rel=1e-9)
        assert curves["test.accuracy"][model].item() == pytest.approx(accuracy)


def test_two_ranks_learn_what_a_plain_loop_learns(ranks):
    trial = replace(TRIAL, world_size=2, accumulation_steps=2)
    loss, accuracy = by_hand(trial)
    for curves in ranks(2, on_ranks, trial):
        assert curves["test.loss"].item() == pytest.approx(loss, rel=1e-9)
        assert curves["test.accuracy"].item() == pytest.approx(accuracy)


def on_ranks(trial, dist):
    return trained([trial], dist)
