"""Fused training against the same models trained alone, one plain module at a time, with torch's own optimizers.

All of it in double precision, where equality can be told from chance: in single precision a net that is sensitive to
its weights tells two orders of a sum apart.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from harness.ensemble.ensemble import fuse
from harness.nn.models import build
from harness.nn.norms import NORMS
from harness.training.loop import train
from harness.training.results import outcomes
from harness.training.state import init_state
from tests.support.alone import BASE, CPU, DATA, assert_equals_alone, run, train_alone
from tests.support.pairs import fits

pytestmark = pytest.mark.usefixtures("double_precision")

MODELS = ["mlp-12-8", "mlp-8x2", "cnn-4-8", "resnet-8x2", "resmlp-8x2"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("norm", NORMS)
def test_a_trial_in_a_cohort_learns_what_it_learns_alone(norm, model):
    if not fits(norm, model):
        pytest.skip("it can't have this norm")
    trials = [replace(BASE, norm=norm, model=model, lr=lr, seed=seed) for lr, seed in [(0.1, 0), (0.3, 1), (0.05, 2)]]
    assert_equals_alone(run(trials), trials)


@pytest.mark.parametrize(
    "options",
    [
        {"norm_eps": 0.1},
        {"norm_momentum": 0.7},
        {"norm_momentum": "cumulative"},
        {"norm_affine": False},
        {"norm_track_running_stats": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("model", ["mlp-12-8", "cnn-4-8"])
def test_each_option_of_batch_norm_does_fused_what_it_does_alone(options, model):
    trials = [replace(BASE, norm="batch", model=model, lr=lr, **options) for lr in (0.1, 0.3)]
    assert_equals_alone(run(trials), trials)
    plain, _ = train_alone(
        replace(trials[0], norm_eps=1e-5, norm_momentum=0.1, norm_affine=True, norm_track_running_stats=True)
    )
    alone, _ = train_alone(trials[0])
    x = torch.from_numpy(DATA.x["test"])
    assert not torch.allclose(plain.eval()(x), alone.eval()(x)), (
        "the option makes no difference, so the test shows nothing"
    )


@pytest.mark.parametrize("model", ["mlp-12-8", "cnn-4-8"])
@pytest.mark.parametrize(
    "options",
    [
        {"norm": "none", "accumulation_steps": 3},
        {"norm": "batch", "batch_size": 6, "accumulation_steps": 3},
        {"norm": "batch", "batch_size": 6, "accumulation_steps": 2, "norm_momentum": "cumulative"},
        {"norm": "group", "batch_size": 31, "accumulation_steps": 5},
        {"norm": "ghost_batch", "norm_batch": 3},
        {"norm": "ghost_batch", "norm_batch": 2, "norm_momentum": "cumulative", "norm_affine": False},
        {
            "norm": "ghost_batch",
            "batch_size": 8,
            "accumulation_steps": 2,
            "norm_batch": 2,
            "norm_track_running_stats": False,
        },
    ],
    ids=str,
)
def test_batches_in_parts_and_ghost_batches_train_fused_as_alone(options, model):
    trials = [replace(BASE, model=model, lr=lr, **options) for lr in (0.1, 0.3)]
    assert_equals_alone(run(trials), trials)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("init", ["default", "he", "xavier", "normal"])
def test_every_init_and_activation_trains_fused_as_alone(activation, init):
    trials = [replace(BASE, activation=activation, init=init, init_scale=scale) for scale in (0.5, 1.0, 2.0)]
    assert_equals_alone(run(trials), trials)


def test_the_full_batch_is_neither_shuffled_nor_different_from_the_same_alone():
    trials = [replace(BASE, norm="batch", batch_size=31, lr=lr) for lr in (0.1, 0.2)]
    state = run(trials)
    for i, trial in enumerate(trials):
        model, _ = train_alone(trial)  # shuffled there: sums in another order
        for name, weight in model.named_parameters():
            torch.testing.assert_close(state.ensemble.weights[name][i].detach(), weight.detach(), rtol=1e-9, atol=1e-12)


def test_one_batch_an_epoch_that_is_not_the_full_batch_is_drawn_anew_in_each():
    trials = [replace(BASE, norm="batch", batch_size=20, seed=seed) for seed in range(2)]
    assert_equals_alone(run(trials), trials)


def test_a_model_that_diverges_leaves_the_others_as_they_would_be_without_it():
    tame = [replace(BASE, lr=lr, steps=20) for lr in (0.1, 0.2)]
    wild = replace(BASE, lr=1e30, steps=20)
    with_it, without = run([tame[0], wild, tame[1]]), run(tame)
    for name, weight in without.ensemble.weights.items():
        torch.testing.assert_close(with_it.ensemble.weights[name][[0, 2]], weight)
    found = outcomes(with_it)
    assert [outcome.facts["fail_step"] is None for outcome in found] == [True, False, True]
    assert found[1].curves["test.loss"]["value"][-1] is None
    assert found[1].curves["test.accuracy"]["value"][-1] is None


def test_the_fail_step_is_the_first_step_whose_loss_is_not_finite():
    trial = replace(BASE, lr=1e30, steps=20)
    _, losses = train_alone(trial)
    expected = 1 + next(step for step, loss in enumerate(losses) if not np.isfinite(loss))
    assert outcomes(run([trial]))[0].facts["fail_step"] == expected


def test_dropout_is_a_function_of_the_seed_and_the_step():
    def with_dropout(classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(30, 16), nn.Dropout(0.5), nn.Linear(16, classes))

    trials = [replace(BASE, model="with_dropout", lr=lr) for lr in (0.1, 0.2)]

    def weights(scramble: int) -> list[torch.Tensor]:
        state = init_state(trials, DATA, CPU, {"with_dropout": with_dropout})
        for _ in train(state):
            torch.manual_seed(scramble)
        return list(state.ensemble.weights.values())

    for one, two in zip(weights(1), weights(2), strict=True):
        assert torch.equal(one, two)


def test_stacking_keeps_tensors_apart():
    model = build(BASE, DATA.input_shape, 3, {})
    stack = fuse([model, model], DATA.input_shape, CPU, "stacked")
    with torch.no_grad():
        next(iter(stack.weights.values()))[0].zero_()
    assert next(iter(stack.weights.values()))[1].abs().sum() > 0
