"""What trains on without diverged models: it is a value, and only `scatter_into` brings it back into all models."""

from collections.abc import Mapping
from dataclasses import fields, replace

import torch

from harness.training.loop import train
from harness.training.pruning import all_models, drop_diverged, scatter_into
from harness.training.state import TrainState
from tests.training.test_loop import BASE, make_state

LRS = [1e20, 0.1, 1e20, 1e20, 0.2]  # most of them diverge
ROWS = [1, 4]


def tensors_of(state):
    return {name: tensor.detach().clone() for name, tensor in state.tensors.items()}


def models_first(name, tensor):
    return tensor.T if name.startswith("curve/") or name == "loss_buffer" else tensor


def test_scattering_brings_what_still_trains_up_to_date_and_leaves_the_others():
    trials = [replace(BASE, norm="batch", momentum=0.9, seed=seed, lr=lr) for seed, lr in enumerate(LRS)]
    state = make_state(trials)
    events = (event for event in train(state) if event.active.state is not state)
    next(events)
    before, event = tensors_of(state), next(events)
    assert event.active.rows == tuple(ROWS)
    active = event.active.state.tensors
    assert not torch.equal(active["weight/1.weight"], before["weight/1.weight"][ROWS]), "it trains in its own tensors"
    scatter_into(state, event.active)
    for name, tensor in state.tensors.items():
        rows, others = models_first(name, tensor), [0, 2, 3]
        torch.testing.assert_close(rows[ROWS], models_first(name, active[name]), rtol=0, atol=0, equal_nan=True)
        expected = models_first(name, before[name])[others]
        torch.testing.assert_close(rows[others], expected, rtol=0, atol=0, equal_nan=True)


def test_after_the_last_event_the_state_is_up_to_date():
    state = make_state([replace(BASE, seed=seed, lr=lr) for seed, lr in enumerate(LRS)])
    *_, last = train(state)
    assert last.active.state is not state
    before = tensors_of(state)
    scatter_into(state, last.active)
    for name, tensor in state.tensors.items():
        torch.testing.assert_close(tensor.detach(), before[name], rtol=0, atol=0, equal_nan=True)


def test_a_cohort_of_which_most_are_alive_trains_on_as_it_is():
    state = make_state([replace(BASE, seed=seed) for seed in range(5)])
    active = all_models(state)
    state.fail_step[3] = 2
    assert drop_diverged(state, active, [4]) is active
    state.fail_step[:4] = 2
    assert drop_diverged(state, active, [1]) is active, "they fail after that evaluation"
    fewer = drop_diverged(state, active, [4])
    assert (fewer.rows, fewer.state.ensemble.size) == ((4,), 1)


def test_training_replaces_no_part_of_the_state_and_adds_none():
    """All that changes are the numbers in its tensors: there is no other state to save."""
    state = make_state([replace(BASE, norm="batch", seed=seed, lr=lr) for seed, lr in enumerate(LRS)])
    values = {field.name: getattr(state, field.name) for field in fields(TrainState)}
    keys = {name: list(value) for name, value in values.items() if isinstance(value, Mapping)}
    storages = {name: tensor.data_ptr() for name, tensor in state.tensors.items()}
    assert not [name for name, value in values.items() if isinstance(value, list | set)]
    for _ in train(state):
        pass
    assert {name: getattr(state, name) for name in values if getattr(state, name) is not values[name]} == {}
    assert {name: list(values[name]) for name in keys} == keys
    assert {name: tensor.data_ptr() for name, tensor in state.tensors.items()} == storages
