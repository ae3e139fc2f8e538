"""What leaves a cohort: the plain module of each trial, with what its optimizer needs to go on."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.data.datasets import load_dataset
from harness.ensemble.optim import OPTIMIZERS
from harness.export.model_card import build_trained, state_of, trained_models
from harness.export.optimizer_state import optimizer_state
from harness.nn.models import build
from harness.nn.norms import NORMS
from harness.nn.surgery import convert_from_sync_bn
from harness.rng import generator
from harness.spec.trial import Trial
from harness.training.best_checkpoint import keep_best
from harness.training.checkpoint import dump
from harness.training.loop import train
from harness.training.state import init_state
from tests.support.alone import torch_optimizers
from tests.support.pairs import fits
from tests.support.stopping import train_until

CPU = torch.device("cpu")
DIGITS = load_dataset("digits", Path(), {})
BASE = Trial(
    dataset="digits", model="cnn-4-6", lr=0.1, batch_size=300, steps=7, eval_every=2, norm_groups=2, device="cpu"
)


def make_state(trials):
    return keep_best(init_state(trials, DIGITS, CPU, {}))


def finish(state, done=0):
    for _ in train(state, done):
        pass
    return state


def models_of(state, which="last"):
    return [model for _, w, model in trained_models(state, {}) if w == which]


def module_of(model):
    return build_trained(model.metadata, {name: t.clone() for name, t in state_of(model).items()}, {})


@pytest.mark.parametrize("norm", [norm for norm in NORMS if fits(norm, BASE.model)])
def test_a_trial_of_a_cohort_is_the_plain_module_it_stands_for(norm):
    state = finish(make_state([replace(BASE, norm=norm, seed=seed, lr=lr) for seed, lr in [(0, 0.1), (1, 0.3)]]))
    x = state.data["test"][0][:5]
    with state.ensemble.eval_mode():
        fused = state.ensemble(x, shared=True).transpose(1, 2)
    for i, model in enumerate(models_of(state)):
        module = module_of(model)
        assert not module.training
        assert module.state_dict().keys() == build(state.trials[i], (1, 8, 8), 10, {}).state_dict().keys()
        torch.testing.assert_close(module(x).detach(), fused[i], rtol=1e-4, atol=1e-5)


def test_resumed_at_any_moment_keeps_the_same_models_to_the_byte():
    # Most of them diverge, after which the others train on as a smaller stack.
    lrs = [0.1, 1e30, 1e30, 1e30, 0.2]
    trials = [replace(BASE, norm="batch", seed=seed, momentum=0.9, lr=lr) for seed, lr in enumerate(lrs)]
    whole = [dump(model) for _, _, model in trained_models(finish(make_state(trials)), {})]
    assert len(set(whole)) == 10
    for moment in range(1, sum(1 for _ in train(make_state(trials)))):
        stopped = make_state(trials)
        done = train_until(stopped, moment)
        saved = {name: tensor.clone() for name, tensor in stopped.tensors.items()}
        resumed = make_state(trials)
        resumed.restore(saved)
        assert [dump(model) for _, _, model in trained_models(finish(resumed, done), {})] == whole


def test_the_best_model_is_the_first_with_the_highest_validation_accuracy():
    trials = [
        replace(BASE, model="mlp-8", seed=seed, lr=lr) for seed, lr in [(0, 2.0), (1, 1e20), (2, 0.05), (3, 1e-20)]
    ]
    state, states = make_state(trials), {}
    for event in train(state):
        if event.kind == "eval":
            states[event.step] = {name: tensor.detach().clone() for name, tensor in state.model_state.items()}
    accuracies = state.curves["val.accuracy"].nan_to_num(-1.0).T.tolist()
    assert len(set(accuracies[3])) == 1  # a tie
    for i, (model, seen) in enumerate(zip(models_of(state, "best"), accuracies, strict=True)):
        step = state.eval_steps[seen.index(max(seen))]
        assert (model.metadata["step"], model.metadata["accuracy"]) == (step, max(seen))
        assert model.metadata["epoch"] == step / state.steps_per_epoch
        for name, tensor in model.tensors.items():
            assert torch.equal(tensor, states[step][name][i]), name


def test_a_model_that_never_validates_is_kept_as_it_started():
    state = make_state([replace(BASE, model="mlp-8", init_scale=1e38, init="normal")])
    before = {name: tensor.detach().clone() for name, tensor in state.model_state.items()}
    (best,) = models_of(finish(state), "best")
    assert (best.metadata["step"], best.metadata["accuracy"]) == (0, None)
    assert all(torch.equal(tensor, before[name][0]) for name, tensor in best.tensors.items())


def go_on(module, optimizers, trial, steps, start):
    """The harness's own training, written down plainly for one model."""
    x, y = (torch.from_numpy(values["train"]) for values in (DIGITS.x, DIGITS.y))
    per_epoch = len(y) // trial.batch_size
    module.train()
    for step in range(start, start + steps):
        epoch, batch = divmod(step, per_epoch)
        order = torch.randperm(len(y), generator=generator(trial.seed, "order", epoch))
        picked = order[batch * trial.batch_size : (batch + 1) * trial.batch_size]
        for optimizer in optimizers:
            optimizer.zero_grad()
        F.cross_entropy(module(x[picked]), y[picked]).backward()
        for optimizer in optimizers:
            optimizer.step()
    return module


@pytest.mark.parametrize(("optimizer", "momentum"), [*((name, 0.0) for name in OPTIMIZERS), ("sgd", 0.9)])
def test_plain_torch_goes_on_as_the_harness_would_have(optimizer, momentum):
    # A bias before a batch norm has no gradient but rounding errors, of which AdamW and its like make whole steps.
    lr, norm = (0.1, "batch") if optimizer == "sgd" else (0.01, "none")
    model = "mlp-8x2" if optimizer == "muon" else BASE.model  # with a hidden matrix
    trial = replace(BASE, model=model, norm=norm, optimizer=optimizer, momentum=momentum, weight_decay=0.01, lr=lr)
    trial = replace(trial, steps=14)
    longer = finish(make_state([trial]))
    (shorter,) = models_of(finish(make_state([replace(trial, steps=7)])))
    module = module_of(shorter)
    theirs, state = torch_optimizers(module, trial), optimizer_state(shorter, {})
    for torch_optimizer, part in zip(theirs, state.values() if optimizer == "muon" else [state], strict=True):
        torch_optimizer.load_state_dict(part)
    went_on = go_on(module, theirs, trial, 7, start=7).state_dict()
    for name, tensor in state_of(models_of(longer)[0]).items():
        torch.testing.assert_close(went_on[name], tensor, rtol=1e-3, atol=1e-4)
    fresh = module_of(shorter)
    forgetful = go_on(fresh, torch_optimizers(fresh, trial), trial, 7, start=7).state_dict()
    if OPTIMIZERS[optimizer].state_names([trial]):
        assert not all(torch.allclose(forgetful[name], went_on[name], rtol=1e-3, atol=1e-4) for name in went_on)


def test_the_learning_rate_goes_on_where_the_schedule_stands():
    trial = replace(BASE, model="mlp-8", schedule="step", decay_every=3, decay_factor=0.1)
    (last,) = models_of(finish(make_state([trial])))
    group = optimizer_state(last, {})["param_groups"][0]
    assert group["lr"] == pytest.approx(0.1 * 0.1**2)
    assert group["initial_lr"] == 0.1


class Odd(nn.Module):
    """Norms in a model that is no Sequential, one of them over images and one over vectors."""

    def __init__(self, norm1, norm2):
        super().__init__()
        self.conv, self.first = nn.Conv2d(1, 3, 3), norm2(3)
        self.inner = nn.ModuleDict({"fc": nn.Linear(3 * 36, 5), "norm": norm1(5, affine=False, momentum=None)})

    def forward(self, x):
        return self.inner["norm"](self.inner["fc"](self.first(self.conv(x)).flatten(1)))


def test_a_model_with_synchronised_norms_becomes_one_that_a_single_process_can_train():
    plain = Odd(nn.BatchNorm1d, nn.BatchNorm2d)
    plain(torch.randn(7, 1, 8, 8))
    several = Odd(nn.SyncBatchNorm, nn.SyncBatchNorm)
    several.load_state_dict(plain.state_dict())
    several.train()
    single = convert_from_sync_bn(several, (1, 8, 8))
    assert str(single) == str(plain)
    assert single.training
    x = torch.randn(4, 1, 8, 8)
    assert torch.equal(single(x), plain(x))
    assert all(torch.equal(one, two) for one, two in zip(single.buffers(), plain.buffers(), strict=True))
    assert [p.requires_grad for p in single.parameters()] == [True] * 6


def test_a_lone_synchronised_norm_is_converted_too():
    assert isinstance(convert_from_sync_bn(nn.SyncBatchNorm(3), (3,)), nn.BatchNorm1d)
