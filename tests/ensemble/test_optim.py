"""Optimizers, with values of each model's own, against torch's and against the formulas of papers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.ensemble.optim import OPTIMIZERS
from harness.ensemble.optim.checks import check_optimizers
from harness.ensemble.optim.lion import Lion
from harness.errors import SuiteError
from harness.spec.cohorts import make_cohorts
from tests.support.alone import BASE, assert_equals_alone, run

pytestmark = pytest.mark.usefixtures("double_precision")

ARGS = {  # optimizer -> what models of one cohort may be given each, and what all of them share
    "adam": ([{}, {"betas": (0.8, 0.95)}, {"eps": 1e-3}], {}),
    "adamw": ([{}, {"betas": (0.5, 0.9), "eps": 1e-2}], {}),
    "nadam": ([{}, {"momentum_decay": 0.1}, {"betas": (0.7, 0.9)}], {"decoupled_weight_decay": True}),
    "rmsprop": ([{}, {"alpha": 0.9}, {"eps": 1e-2}], {"centered": True}),
    "adagrad": ([{}, {"lr_decay": 0.1}, {"initial_accumulator_value": 0.2, "eps": 1e-4}], {}),
    "lion": ([{}, {"betas": (0.5, 0.8)}], {}),
    "muon": ([{}, {"momentum": 0.5, "eps": 1e-3}, {"betas": (0.8, 0.9)}], {"nesterov": False, "ns_steps": 3}),
    "sgd": ([{}], {}),
}


def settings_for(optimizer):
    """lr, momentum, weight decay and arguments of one model; whether all have Nesterov's momentum; what all share."""
    entry, (each_args, shared) = OPTIMIZERS[optimizer], ARGS[optimizer]
    momenta = st.sampled_from([0.0, 0.5, 0.9]) if entry.has_momentum else st.just(0.0)
    decays = st.sampled_from([0.0, 0.01, 0.3])
    each = st.tuples(st.sampled_from([1e-3, 0.02, 0.2]), momenta, decays, st.sampled_from(each_args))
    nesterov = st.booleans() if entry.has_nesterov else st.just(False)
    return st.tuples(st.lists(each, min_size=1, max_size=4), nesterov, st.sampled_from([{}, shared]))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_optimizers_do_what_torch_does_with_values_of_each_model(optimizer, data):
    values, nesterov, shared = data.draw(settings_for(optimizer))
    trials = [
        replace(
            BASE,
            optimizer=optimizer,
            lr=lr,
            momentum=momentum or 0.1 * nesterov,
            weight_decay=decay,
            nesterov=nesterov,
            optimizer_args={**args, **shared},
        )
        for lr, momentum, decay, args in values
    ]
    assert len(make_cohorts(set(trials))) == 1
    assert_equals_alone(run(trials), trials)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_over_many_steps_it_stays_what_torch_has_with_norms_clipping_and_a_schedule(optimizer):
    base = replace(BASE, optimizer=optimizer, norm="layer", decay_norms=False, weight_decay=0.1, steps=60, lr=0.01)
    trials = [replace(base, seed=i, max_grad_norm=[None, 0.3][i], schedule="cosine", warmup_steps=7) for i in (0, 1)]
    assert_equals_alone(run(trials), trials)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_an_optimizer_remembers_has_the_name_that_torch_gives_it(optimizer):
    entry = OPTIMIZERS[optimizer]
    for rule in filter(None, (entry, entry.rest)):
        weight = nn.Parameter(torch.eye(2))
        trial = replace(BASE, optimizer=optimizer, momentum=0.9 * entry.has_momentum)
        theirs = rule.torch_optimizer([weight], trial)
        for steps in (1, 2, 3):
            weight.grad = torch.ones(2, 2)
            theirs.step()
            ours = {rule.torch_state[name] for name in rule.state_names([trial])}
            counts = rule.torch_counts(steps, rule.args_of(trial))
            state = {name: value for name, value in theirs.state[weight].items() if value is not None}
            assert state.keys() == ours | counts.keys()
            assert {name: state[name].item() for name in counts} == pytest.approx(counts)


def test_lion_is_that_of_its_paper():
    """Chen et al. 2023, algorithm 2, with their names."""
    rng = np.random.default_rng(0)
    theta, m = rng.normal(size=(3, 5)), np.zeros((3, 5))
    weight = nn.Parameter(torch.tensor(theta))
    optimizer = Lion([weight], lr=0.03, betas=(0.9, 0.99), weight_decay=0.2)
    for _ in range(50):
        g = rng.normal(size=(3, 5))
        c = 0.9 * m + (1 - 0.9) * g
        theta = theta - 0.03 * (np.sign(c) + 0.2 * theta)
        m = 0.99 * m + (1 - 0.99) * g
        weight.grad = torch.tensor(g)
        optimizer.step()
    np.testing.assert_allclose(weight.detach().numpy(), theta, rtol=1e-12)


@pytest.mark.parametrize(
    ("optimizer", "changes", "says"),
    [
        ("adam", {"optimizer_args": {"alpha": 0.9}}, "adam has betas, eps; got 'alpha'"),
        ("sgd", {"optimizer_args": {"eps": 0.1}}, "sgd has none; got 'eps'"),
        ("adam", {"optimizer_args": {"betas": 0.9}}, r"betas must be like \(0.9, 0.999\), got 0.9"),
        ("rmsprop", {"optimizer_args": {"centered": 1}}, "centered must be like False, got 1"),
        ("adamw", {"optimizer_args": {"betas": (0.9, 1.5)}}, "Invalid beta parameter at index 1: 1.5"),
        ("lion", {"optimizer_args": {"betas": (0.9, 1.5)}}, "betas must lie in 0..1"),
        ("muon", {"optimizer_args": {"adjust_lr_fn": "larger"}}, "larger is not supported"),
        ("muon", {"momentum": 0.9}, "momentum is of sgd, rmsprop; .* its own is in optimizer_args"),
        ("rmsprop", {"momentum": 0.9, "nesterov": True}, "nesterov is of sgd"),
        ("adamx", {}, "unknown optimizer 'adamx'; did you mean 'adam"),
    ],
)
def test_what_an_optimizer_has_no_use_for_is_refused(optimizer, changes, says):
    good = replace(BASE, optimizer="adam", optimizer_args={"eps": 1})
    with pytest.raises(SuiteError, match=says):
        check_optimizers([good, replace(BASE, optimizer=optimizer, **changes)], {})
