"""What a plain loop of torch leaves alone stays as it was, in every backend: frozen parameters, and unused ones."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from harness.data.datasets import load_dataset
from harness.ensemble.backend_choice import find_mismatch
from harness.ensemble.backends import BACKENDS
from harness.ensemble.backends.base import NotStackableError
from harness.errors import SuiteError
from harness.export.model_card import build_trained, state_of, trained_models
from harness.export.optimizer_state import optimizer_state
from harness.nn.models import build
from harness.spec.trial import Trial
from harness.training.best_checkpoint import keep_best
from harness.training.loop import train
from harness.training.state import init_state
from tests.support.alone import train_alone

CPU = torch.device("cpu")
DIGITS = load_dataset("digits", Path(), {})
BASE = Trial(
    dataset="digits", model="partly", norm="batch", lr=0.1, batch_size=100, steps=6, eval_every=3, init="default",
    momentum=0.9, weight_decay=0.1, precision="float64", device="cpu",
)  # fmt: skip


class Partly(nn.Module):
    """Its first layer and its norm are frozen, its last is not used."""

    def __init__(self, classes, norm):
        super().__init__()
        self.first, self.norm = nn.Linear(64, 12), norm(12)
        self.second, self.spare = nn.Linear(12, classes), nn.Linear(12, 3)
        for weight in (*self.first.parameters(), *self.norm.parameters()):
            weight.requires_grad_(False)

    def forward(self, x):
        return self.second(torch.relu(self.norm(self.first(x.flatten(1)))))


def partly(classes, norm):
    return Partly(classes, norm)


def of_linear_layers(classes, norm):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), norm(12), nn.ReLU(), nn.Linear(12, classes))
    for weight in (*model[1].parameters(), *model[2].parameters()):
        weight.requires_grad_(False)
    return model


FACTORIES = {"partly": partly, "chain": of_linear_layers}


def by_hand(trial):
    """A plain loop on the same batches."""
    return train_alone(trial, DIGITS, FACTORIES)[0]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("model", FACTORIES)
@pytest.mark.parametrize("max_cohort_size", [None, 1])
def test_a_cohort_leaves_alone_what_a_plain_loop_leaves_alone(model, optimizer, max_cohort_size):
    momentum = 0.9 if optimizer == "sgd" else 0.0
    trials = [
        replace(BASE, model=model, seed=seed, optimizer=optimizer, momentum=momentum, max_cohort_size=max_cohort_size)
        for seed in range(1 if max_cohort_size else 3)
    ]
    state = init_state(trials, DIGITS, CPU, FACTORIES)
    before = {name: tensor.detach().clone() for name, tensor in state.ensemble.stack.tensors.items()}
    for _ in train(state):
        pass
    for i, trial in enumerate(trials):
        expected = by_hand(trial).state_dict()
        for name, tensor in state.ensemble.stack.tensors.items():
            torch.testing.assert_close(tensor[i].detach(), expected[name], rtol=1e-8, atol=1e-10, msg=name)
            if name.startswith(("first", "1.", "norm.weight", "norm.bias", "spare")):
                assert torch.equal(tensor[i], before[name][i]), name
    trained = "second.weight" if model == "partly" else "4.weight"
    assert not torch.equal(before[trained], state.ensemble.stack.tensors[trained])


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_that_takes_such_a_model_computes_it_as_it_is(backend):
    models = [build(replace(BASE, model="chain", seed=seed), DIGITS.input_shape, 10, FACTORIES) for seed in range(2)]
    if backend in ("compiled", "ddp"):
        with pytest.raises(NotStackableError):
            find_mismatch(models, DIGITS.input_shape, backend)
    else:
        assert find_mismatch(models, DIGITS.input_shape, backend) == ""


def test_torch_goes_on_from_a_checkpoint_of_a_partly_frozen_model():
    state = keep_best(init_state([BASE], DIGITS, CPU, FACTORIES))
    for _ in train(state):
        pass
    _, _, trained = next(iter(trained_models(state, FACTORIES)))
    model = build_trained(trained.metadata, state_of(trained), FACTORIES)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    optimizer.load_state_dict(optimizer_state(trained, {}))
    with_state = {name for name, weight in model.named_parameters() if optimizer.state[weight]}
    assert with_state == {"second.weight", "second.bias"}


def test_a_model_of_which_nothing_can_be_trained_is_refused():
    def rigid(classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, classes)).requires_grad_(False)

    with pytest.raises(SuiteError, match="frozen"):
        init_state([replace(BASE, model="rigid", norm="none")], DIGITS, CPU, {"rigid": rigid})
