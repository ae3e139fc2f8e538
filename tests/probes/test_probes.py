"""Each probe against the same thing written down by hand for the plain module, alone and in a cohort."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.ensemble.optim.schedules import lr_factors
from harness.nn.layers import RMSNorm
from harness.probes import PROBES
from harness.probes.layers import NONLINEARITIES
from harness.probes.rank import _effective_rank
from harness.rng import generator
from harness.training.loop import train
from harness.training.state import init_state
from tests.support.probes_by_hand import (
    BASE,
    CPU,
    DATA,
    SIZE,
    STEPS,
    examples,
    fixed_batch,
    inputs_of,
    nets,
    next_batch,
    plain,
    probed,
    together,
    weighted,
)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
@pytest.mark.parametrize(("model", "norm"), [("mlp-6x2", "none"), ("mlp-6x2", "batch"), ("cnn-4-6", "batch")])
@together
def test_activations_are_described_as_numpy_does(model, norm, activation, together):
    # Large weights, so that some units are saturated or dead.
    state, found = probed("activations", together, model=model, norm=norm, activation=activation, init_scale=3.0)
    kinds = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
    lost = []
    for i, values in enumerate(found):
        x, _ = fixed_batch(state, i)
        expected = {}
        for n, seen in enumerate(inputs_of(plain(state, i), kinds[activation], x), 1):
            every = seen.double().numpy()
            expected |= {f"activation_mean/{n}": every.mean(), f"activation_std/{n}": every.std()}
            expected |= {f"activation_p{p}/{n}": np.percentile(every, p) for p in (15, 50, 85)}
            if activation == "relu":
                units = np.maximum(every, 0).swapaxes(0, 1).reshape(every.shape[1], -1)
                expected[f"dead/{n}"] = (units == 0).all(1).mean()
                lost.append(expected[f"dead/{n}"])
            else:
                given = seen.double().requires_grad_()
                kinds[activation]()(given).sum().backward()
                most = {"sigmoid": 0.25, "tanh": 1.0}[activation]
                expected[f"saturated/{n}"] = (given.grad < 0.1 * most).double().mean().item()
                lost.append(expected[f"saturated/{n}"])
        assert values == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert max(lost) > 0 or norm == "batch"


@pytest.mark.parametrize(("model", "norm"), [("mlp-6x4", "none"), ("mlp-6x4", "batch"), ("cnn-4-6", "batch")])
@together
def test_the_effective_rank_is_that_of_the_singular_values(model, norm, together):
    state, found = probed("rank", together, model=model, norm=norm, init_scale=3.0)
    for i, values in enumerate(found):
        x, _ = fixed_batch(state, i)
        for n, seen in enumerate(inputs_of(plain(state, i), nn.ReLU, x), 1):
            rows = seen.double().numpy().swapaxes(0, 1).reshape(seen.shape[1], -1)
            energies = np.linalg.svd(rows, compute_uv=False) ** 2
            assert values[f"activation_rank/{n}"] == pytest.approx(energies.sum() ** 2 / (energies**2).sum(), rel=1e-4)
            assert 1 - 1e-9 <= values[f"activation_rank/{n}"] <= seen.shape[1] + 1e-9


def test_the_effective_rank_of_known_representations():
    def rank_of(x):
        return _effective_rank(torch.as_tensor(x, dtype=torch.float64), NONLINEARITIES[nn.ReLU])[
            "activation_rank"
        ].item()

    one, many = torch.outer(torch.arange(1.0, 9), torch.arange(1.0, 6)).double(), torch.eye(5).double().repeat(4, 1)
    assert rank_of(one) == pytest.approx(1)
    assert rank_of(1e-200 * one) == pytest.approx(1)
    assert rank_of(many) == pytest.approx(5)
    assert rank_of(1e100 * many) == pytest.approx(5)
    assert rank_of(many.T.reshape(1, 5, 20)) == pytest.approx(5)  # pixels count as examples
    assert rank_of(torch.zeros(8, 5)) == 1


@nets
@together
def test_the_landscape_is_what_a_walk_along_the_gradient_meets(model, norm, together):
    state, found = probed("landscape", together, model=model, norm=norm)
    for i, values in enumerate(found):
        x, y = next_batch(state, i)
        trial = state.trials[i]
        lr = trial.lr * lr_factors(trial, STEPS, {})(STEPS - 1)

        def at(weights, i=i, x=x, y=y):
            module = plain(state, i)
            nn.utils.vector_to_parameters(weights, module.parameters())
            loss = F.cross_entropy(module(x), y)
            return loss.item(), torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()))])

        start = nn.utils.parameters_to_vector(plain(state, i).parameters()).detach()
        _, g = at(start)
        lengths = lr * np.geomspace(0.5, 4, 7)
        walked = [at(start - length * g) for length in lengths.tolist()]
        losses = [loss for loss, _ in walked]
        changes = [(there - g).norm().item() for _, there in walked]
        betas = [change / (length * g.norm().item()) for change, length in zip(changes, lengths, strict=True)]
        expected = {
            "landscape_loss_min": min(losses),
            "landscape_loss_max": max(losses),
            "landscape_loss_range": max(losses) - min(losses),
            "landscape_gradient_change_min": min(changes),
            "landscape_gradient_change_max": max(changes),
            "effective_beta": max(betas),
        }
        assert values == pytest.approx(expected, rel=2e-2)


@pytest.mark.parametrize("model", ["mlp-6x2", "cnn-4-6"])
@pytest.mark.parametrize("momentum", [0.1, "cumulative"])
@together
def test_running_statistics_are_held_against_averages_over_the_training_examples(model, momentum, together):
    state, found = probed("running", together, model=model, norm="batch", norm_momentum=momentum)
    count = state.dataset.size("train")
    x, _ = examples(state, torch.randperm(count, generator=generator(0, "recalibrate")))
    pieces = x.tensor_split(list(range(SIZE, count - 1, SIZE)))
    for i, values in enumerate(found):
        module = plain(state, i)
        norms = [layer for layer in module if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
        running = [(layer.running_mean.numpy().copy(), layer.running_var.numpy().copy()) for layer in norms]
        seen = [inputs_of(module, type(norms[0]), piece) for piece in pieces]
        for n, (mean, var) in enumerate(running, 1):
            channels = [s[n - 1].transpose(0, 1).flatten(1).double().numpy() for s in seen]
            true_mean = np.mean([c.mean(1) for c in channels], 0)
            true_var = np.mean([c.var(1, ddof=1) for c in channels], 0)
            mean_error = np.linalg.norm(mean - true_mean) / np.sqrt(true_var.sum())
            var_error = np.linalg.norm(var - true_var) / np.linalg.norm(true_var)
            expected = {f"running_mean_error/{n}": mean_error, f"running_var_error/{n}": var_error}
            assert {name: values[name] for name in expected} == pytest.approx(expected, rel=1e-3)
        assert len(values) == 2 * len(norms)


@nets
@together
def test_weight_norms_and_effective_rates_are_those_of_the_weights(model, norm, together):
    state, found = probed("weights", together, model=model, norm=norm)
    for i, values in enumerate(found):
        trial = state.trials[i]
        rate = trial.lr * lr_factors(trial, STEPS, {})(STEPS - 1)
        sizes = [np.linalg.norm(layer.weight.detach().numpy()) for layer in weighted(plain(state, i))]
        expected = {f"weight_norm/{n}": size for n, size in enumerate(sizes, 1)}
        if norm != "none":  # the last layer gives the scores, which nothing normalises
            expected |= {f"effective_lr/{n}": rate / size**2 for n, size in enumerate(sizes[:-1], 1)}
        assert values == pytest.approx(expected, rel=1e-5)


@nets
def test_doubling_weights_that_have_an_effective_rate_changes_no_output(model, norm):
    state, found = probed("weights", None, model=model, norm=norm)
    module = plain(state, 0).double()
    x, _ = fixed_batch(state, 0)
    for layer in weighted(module):
        layer.bias.data.zero_()
    expected = module(x.double())
    for n, layer in enumerate(weighted(module), 1):
        layer.weight.data.mul_(2.0 if f"effective_lr/{n}" in found[0] else 1.0)
    torch.testing.assert_close(module(x.double()), expected, rtol=0.01, atol=0.01)


def test_the_norm_of_root_mean_squares_counts_as_one():
    assert any(
        isinstance(layer, RMSNorm) for layer in plain(probed("weights", None, model="mlp-6x2", norm="rms")[0], 0)
    )


class Scale(nn.Module):
    """A layer that can't be stacked."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(7))

    def forward(self, x):
        return x * self.factor


def own_net(norm):
    """A model of a suite's own that is mapped over the models of a cohort."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7), norm(7), nn.Sigmoid(), Scale(), nn.Linear(7, 10))


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_probes_of_mapped_models_are_those_of_each_alone(norm):
    every = "+".join(PROBES)
    trials = [replace(BASE, model="own_net", norm=norm, probes=every, seed=s, lr=0.1 + s / 10) for s in range(3)]
    found = []
    for cohort in (trials, *[[replace(trial, max_cohort_size=1)] for trial in trials]):
        state = init_state(cohort, DATA["digits"], CPU, {"own_net": own_net})
        assert state.ensemble.backend.name == ("vmap" if len(cohort) > 1 else "loop")
        for _ in train(state):
            pass
        found.append({name: curve for name, curve in state.curves.items() if name.startswith("probe.")})
    cohort, *alone = found
    assert "probe.saturated/1" in cohort
    assert ("probe.running_mean_error/1" in cohort) == (norm == "batch")
    for i, mine in enumerate(alone):
        for name, curve in mine.items():
            tolerance = 0.02 if "landscape" in name or "beta" in name else 2e-3
            assert cohort[name][:, i].tolist() == pytest.approx(
                curve[:, 0].tolist(), rel=tolerance, abs=1e-5, nan_ok=True
            ), name
