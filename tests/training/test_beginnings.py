"""Where the models of a cohort begin: each with the weights that it has alone, though like ones are made once."""

from dataclasses import replace

import pytest
import torch

from harness.spec.cohorts import PER_MODEL
from harness.training import state
from tests.training.test_loop import BASE, make_state

OTHERS = {  # of what may differ within a cohort -> values
    "seed": (0, 1, 0),
    "init": ("he", "default", "he"),
    "init_scale": (1.0, 2.0, 1.0),
    "label_noise": (0.0, 0.1, 0.0),
    "lr": (0.1, 0.2, 0.3),
    "momentum": (0.0, 0.5, 0.9),
    "weight_decay": (0.0, 0.1, 0.01),
    "decay_norms": (True, False, True),
    "max_grad_norm": (1.0, None, 2.0),
    "optimizer_args": ("", "", ""),  # SGD has none
}


def test_every_setting_of_a_model_of_its_own_is_tried():
    assert OTHERS.keys() == PER_MODEL


@pytest.mark.parametrize("norm", ["batch", "scaled_ws"])
@pytest.mark.parametrize("name", sorted(PER_MODEL))
def test_a_model_begins_in_a_cohort_with_the_weights_that_it_has_alone(name, norm):
    trials = [replace(BASE, norm=norm, **{name: value}) for value in OTHERS[name]]
    begun = [make_state([trial]).ensemble.weights for trial in trials]
    for weight, stacked in make_state(trials).ensemble.weights.items():
        assert torch.equal(stacked, torch.cat([alone[weight] for alone in begun])), weight


def test_models_of_one_beginning_are_made_once(monkeypatch):
    made, build = [], state.build
    monkeypatch.setattr(state, "build", lambda trial, *rest: made.append(trial) or build(trial, *rest))
    make_state([replace(BASE, seed=seed, lr=lr) for seed in range(2) for lr in (0.1, 0.2, 0.3)])
    assert len(made) == 3  # one of each seed, and one to choose the backend by
