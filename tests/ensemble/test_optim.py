"""Optimizers and schedules, with values of each model's own, against torch's."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.ensemble.optim import OPTIMIZERS, SCHEDULES
from tests.support.alone import BASE, assert_equals_alone, run

pytestmark = pytest.mark.usefixtures("double_precision")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_optimizers_do_what_torch_does_with_values_of_each_model(optimizer, data):
    momenta = st.sampled_from([0.0, 0.5, 0.9]) if optimizer == "sgd" else st.just(0.0)
    values = st.tuples(st.sampled_from([1e-3, 0.02, 0.2]), momenta, st.sampled_from([0.0, 0.01, 0.3]))
    nesterov = optimizer == "sgd" and data.draw(st.booleans())
    trials = [
        replace(
            BASE, optimizer=optimizer, lr=lr, momentum=momentum or 0.1 * nesterov, weight_decay=decay, nesterov=nesterov
        )
        for lr, momentum, decay in data.draw(st.lists(values, min_size=1, max_size=4))
    ]
    assert_equals_alone(run(trials), trials)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_moves_lr_as_torch_moves_it(schedule):
    from harness.ensemble.optim import lr_factor

    trial = replace(BASE, schedule=schedule, decay_every=3, decay_factor=0.5, steps=11)
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    oracle = {
        "constant": lambda: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0),
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=11),
        "step": lambda: torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5),
    }[schedule]()
    for step in range(11):
        assert lr_factor(trial, step, 11) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        oracle.step()


def test_a_warm_up_is_linear_and_the_schedule_begins_after_it():
    from harness.ensemble.optim import lr_factor

    trial = replace(BASE, schedule="cosine", warmup_steps=4, steps=10)
    assert [lr_factor(trial, step, 10) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert lr_factor(trial, 9, 10) < lr_factor(trial, 5, 10)
