"""Optimizers and schedules, with values of each model's own, against torch's."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.ensemble.optim import OPTIMIZERS
from harness.ensemble.optim.schedules import SCHEDULES, lr_factor
from tests.support.alone import BASE, assert_equals_alone, run

pytestmark = pytest.mark.usefixtures("double_precision")


def settings_for(optimizer):
    """Learning rate, momentum, weight decay of one model, and whether all have Nesterov's momentum."""
    with_momentum = OPTIMIZERS[optimizer].has_momentum
    momenta = st.sampled_from([0.0, 0.5, 0.9]) if with_momentum else st.just(0.0)
    each = st.tuples(st.sampled_from([1e-3, 0.02, 0.2]), momenta, st.sampled_from([0.0, 0.01, 0.3]))
    return st.tuples(st.lists(each, min_size=1, max_size=4), st.booleans() if with_momentum else st.just(False))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_optimizers_do_what_torch_does_with_values_of_each_model(optimizer, data):
    values, nesterov = data.draw(settings_for(optimizer))
    trials = [
        replace(
            BASE, optimizer=optimizer, lr=lr, momentum=momentum or 0.1 * nesterov, weight_decay=decay, nesterov=nesterov
        )
        for lr, momentum, decay in values
    ]
    assert_equals_alone(run(trials), trials)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_an_optimizer_remembers_has_the_name_that_torch_gives_it(optimizer):
    entry, weight = OPTIMIZERS[optimizer], nn.Parameter(torch.ones(2))
    trial = replace(BASE, optimizer=optimizer, momentum=0.9 * entry.has_momentum)
    theirs = entry.torch_optimizer([weight], trial)
    weight.grad = torch.ones(2)
    theirs.step()
    expected = {entry.torch_state[name] for name in entry.state_names([trial])} | {*["step"] * entry.torch_counts_steps}
    assert {name for name, value in theirs.state[weight].items() if value is not None} == expected


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_moves_lr_as_torch_moves_it(schedule):
    trial = replace(BASE, schedule=schedule, decay_every=3, decay_factor=0.5, steps=11)
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    oracle = SCHEDULES[schedule].torch_scheduler(optimizer, 11, trial)
    for step in range(11):
        assert lr_factor(trial, step, 11) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        oracle.step()


def test_a_warm_up_is_linear_and_the_schedule_begins_after_it():
    trial = replace(BASE, schedule="cosine", warmup_steps=4, steps=10)
    assert [lr_factor(trial, step, 10) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert lr_factor(trial, 9, 10) < lr_factor(trial, 5, 10)
