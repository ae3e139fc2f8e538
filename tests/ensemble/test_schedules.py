"""Schedules against torch's schedulers, and those that a suite brings."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from harness.ensemble.optim.schedules import SCHEDULES, check_schedule, lr_factors
from harness.errors import SuiteError
from tests.support.alone import BASE


def rates_of(make, steps):
    """The learning rates that a scheduler gives an optimizer that starts with 1."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("steps", [11, 40])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_moves_lr_as_torch_moves_it(schedule, steps):
    trial = replace(BASE, schedule=schedule, decay_every=3, decay_factor=0.5, steps=steps + 1)
    entry, ours = SCHEDULES[schedule], lr_factors(trial, steps + 1, {})
    expected = rates_of(lambda optimizer: entry.torch_scheduler(optimizer, steps + 1, trial), steps)
    assert [ours(step) for step in range(steps)] == pytest.approx(expected, rel=1e-9)


def test_one_cycle_ends_where_torch_ends_it_however_few_steps_there_are():
    for steps in (1, 2, 3, 4):
        trial = replace(BASE, schedule="one_cycle", steps=steps)
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=steps, cycle_momentum=False)
        assert lr_factors(trial, steps, {})(0) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_a_warm_up_is_linear_and_the_schedule_begins_after_it():
    factor = lr_factors(replace(BASE, schedule="cosine", warmup_steps=4, steps=10), 10, {})
    assert [factor(step) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert factor(9) < factor(5)


def test_inverse_sqrt_is_that_of_transformers():
    """Vaswani et al. 2017, equation 3, which is largest at the end of the warm-up."""
    warmup = 5
    factor = lr_factors(replace(BASE, schedule="inverse_sqrt", warmup_steps=warmup, steps=30), 30, {})
    formula = [min(n**-0.5, n * warmup**-1.5) for n in range(1, 31)]
    assert [factor(step) for step in range(30)] == pytest.approx([rate / max(formula) for rate in formula])


def restarts(optimizer, period=7):
    return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=period)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (lr_scheduler.CosineAnnealingLR, lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=19)),
        (
            partial(lr_scheduler.OneCycleLR, cycle_momentum=False),
            lambda o: lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=20, cycle_momentum=False),
        ),
        (
            partial(lr_scheduler.MultiStepLR, milestones=[3, 8]),
            lambda o: lr_scheduler.MultiStepLR(o, milestones=[3, 8]),
        ),
        (restarts, restarts),
    ],
    ids=["class", "partial", "partial with a list", "function"],
)
def test_a_scheduler_of_torch_moves_lr_after_the_warm_up_as_it_does_in_a_plain_loop(given, made):
    steps = 20 if given is not lr_scheduler.CosineAnnealingLR else 19
    trial = replace(BASE, schedule="theirs", warmup_steps=2, steps=steps + 2)
    factor = lr_factors(trial, steps + 2, {"theirs": given})
    expected = [0.5, 1.0, *rates_of(made, steps - 1)]
    assert [factor(step) for step in range(steps + 1)] == pytest.approx(expected, rel=1e-12)


def test_a_function_of_the_step_is_asked_for_the_steps_after_the_warm_up():
    trial = replace(BASE, schedule="mine", warmup_steps=2, steps=6)
    factor = lr_factors(trial, 6, {"mine": lambda step, steps: (step + 1) / (10 * steps)})
    assert [factor(step) for step in range(6)] == pytest.approx([0.5, 1.0, 1 / 40, 2 / 40, 3 / 40, 4 / 40])


class Counting:
    """No function of the step: it tells how often it was called."""

    calls = 0

    def __call__(self, step, steps):  # noqa: ARG002
        self.calls += 1
        return self.calls


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (Counting(), "must be a function of the step alone, got 1.0 and 2.0 for step 0"),
        (lambda step: 1.0, r"must be a function of \(step, steps\) that returns a factor on lr; for step 0 of 9"),
        (lambda step, steps: "slow", "could not convert string to float"),
        (lambda step, steps: -0.1 * step, "must return a factor that is zero or more, got -0.1 for step 1"),
        (lr_scheduler.ReduceLROnPlateau, "follows a loss; a schedule is a function of the step"),
        (lr_scheduler.OneCycleLR, r"moves momentum too.*functools.partial\(OneCycleLR, cycle_momentum=False\)"),
        (lr_scheduler.MultiStepLR, "can't be stepped 9 times: TypeError.*milestones"),
        (partial(lr_scheduler.LambdaLR, lr_lambda=lambda step: -1.0), "not zero or more"),
    ],
)
def test_what_is_no_function_of_the_step_is_refused(given, says):
    with pytest.raises(SuiteError, match=says):
        check_schedule(replace(BASE, schedule="mine"), 9, {"mine": given})


def test_a_schedule_of_the_suites_own_takes_no_name_that_is_taken():
    with pytest.raises(SuiteError, match="can't be called 'cosine'"):
        check_schedule(replace(BASE, schedule="cosine"), 9, {"cosine": lambda step, steps: 1.0})
