"""Each probe against the same thing written down by hand for the plain module, alone and in a cohort."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from harness import batch_norm_gradient_growth
from harness.training.datasets import load_dataset
from harness.training.layers import RMSNorm
from harness.training.loop import train
from harness.training.models import build
from harness.training.optim import lr_factor
from harness.training.probes import PROBES
from harness.training.probes.gradients import growth, longest_row
from harness.training.probes.sharpness import largest_eigenvalue
from harness.training.program import prepare
from harness.training.streams import generator
from harness.trial import Trial

CPU = torch.device("cpu")
SIZE, STEPS = 25, 4
BASE = Trial(
    dataset="digits", model="mlp-6x2", lr=0.1, batch_size=SIZE, steps=STEPS, momentum=0.5, schedule="cosine",
    warmup_steps=1, norm_groups=2, eval_every=9, init="he", device="cpu",
)  # fmt: skip
DATA = {name: load_dataset(name, Path(), {}) for name in ("digits", "circles")}
NETS = [("mlp-6x2", "none"), ("mlp-6x2", "batch"), ("mlp-6x2", "layer"), ("mlp-6x2", "rms"), ("cnn-4-6", "batch")]
NETS += [("cnn-4-6", "group"), ("cnn-4-6", "ws_group")]
together = pytest.mark.parametrize("together", [None, 1], ids=["cohort", "alone"])
nets = pytest.mark.parametrize(("model", "norm"), NETS)


@cache
def probed(probe, together, **changes):
    """A trained program, and what the probe found after its last step, for each model."""
    trials = [replace(BASE, probes=probe, together=together, seed=s, lr=0.1 + s / 10, **changes) for s in range(3)]
    program = prepare(trials[: together or 3], DATA[trials[0].dataset], CPU, {})
    for _ in train(program):
        pass
    values = {name: curve[-1] for name, curve in program.curves.items() if name.startswith("probe.")}
    assert values
    assert all(torch.isfinite(value).all() for name, value in values.items() if "growth" not in name)
    found = [{n.removeprefix("probe."): v[i].item() for n, v in values.items()} for i in range(len(program.trials))]
    return program, found


def plain(program, i):
    """The model as it was when it was last probed: a plain module in training mode."""
    model = build(program.trials[i], program.dataset.inputs, program.dataset.classes, {})
    state = {**program.stack.weights, **program.stack.buffers}
    model.load_state_dict({name: tensor[i].detach() for name, tensor in state.items()})
    return model.train()


def examples(program, order):
    x, y = (torch.from_numpy(array["train"]) for array in (program.dataset.x, program.dataset.y))
    return x[order], y[order]


def fixed_batch(program, i):
    """The first examples of an order that depends on the seed alone."""
    count = program.dataset.size("train")
    return examples(program, torch.randperm(count, generator=generator(program.trials[i].seed, "probe"))[:SIZE])


def next_batch(program, i):
    """What the update after the last would have learnt from."""
    count = program.dataset.size("train")
    epoch, number = divmod(STEPS, count // SIZE)
    order = torch.randperm(count, generator=generator(program.trials[i].seed, "order", epoch))
    return examples(program, order[number * SIZE : (number + 1) * SIZE])


def weighted(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def inputs_of(model, kinds, x):
    """What the layers of these kinds are given, one after the other, by running a net that is a row of layers."""
    found = []
    for layer in model:
        if isinstance(layer, kinds):
            found.append(x.detach().clone())
        x = layer(x)
    return found


@nets
@together
def test_gradient_norms_are_those_of_backward(model, norm, together):
    program, found = probed("gradients", together, model=model, norm=norm)
    for i, values in enumerate(found):
        module = plain(program, i)
        x, y = fixed_batch(program, i)
        F.cross_entropy(module(x), y).backward()
        expected = {f"gradient_norm/{n}": layer.weight.grad.norm() for n, layer in enumerate(weighted(module), 1)}
        expected["gradient_growth"] = torch.tensor(torch.nan)  # no three layers have one shape
        expected = {name: value.item() for name, value in expected.items()}
        assert values == pytest.approx(expected, rel=2e-4, nan_ok=True)


@pytest.mark.parametrize(("norm", "batch"), [("batch", 8), ("batch", 25), ("none", 25)])
def test_gradients_of_a_deep_net_grow_as_theory_foretells(norm, batch):
    """At depth 50 in single precision; the theory is of wide nets, so that a width of 64 is a few percent off."""
    base = replace(BASE, model="mlp-64x50", norm=norm, batch_size=batch, steps=1, probes="gradients")
    program = prepare([replace(base, seed=s) for s in range(5)], DATA["digits"], CPU, {})
    next(train(program))
    expected = batch_norm_gradient_growth(batch) if norm == "batch" else 1.0
    curves = program.curves
    assert curves["probe.gradient_growth"][0].log().mean().exp().item() == pytest.approx(expected, rel=0.06)
    assert all(torch.isfinite(curves[f"probe.gradient_norm/{n}"][0]).all() for n in range(1, 52))
    first, last = (curves[f"probe.gradient_norm/{n}"][0, 3].item() for n in (2, 50))
    assert (first / last) ** (2 / 48) == pytest.approx(curves["probe.gradient_growth"][0, 3].item(), rel=0.1)


def test_the_growth_is_fitted_over_the_longest_row_of_layers_of_one_shape():
    assert longest_row([(3, 2), (3, 3), (3, 3), (4, 3), (4, 4), (4, 4), (4, 4), (2, 4)]) == (4, 7)
    norms = torch.tensor([[8.0, 1.0], [4.0, 1.0], [2.0, 1.0], [1.0, 1.0]])
    torch.testing.assert_close(growth(norms), torch.tensor([4.0, 1.0]))
    assert growth(norms[:2]).isnan().all()


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
@pytest.mark.parametrize(("model", "norm"), [("mlp-6x2", "none"), ("mlp-6x2", "batch"), ("cnn-4-6", "batch")])
@together
def test_activations_are_described_as_numpy_does(model, norm, activation, together):
    # Large weights, so that some units are saturated or dead.
    program, found = probed("activations", together, model=model, norm=norm, activation=activation, init_scale=3.0)
    kinds = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
    lost = []
    for i, values in enumerate(found):
        x, _ = fixed_batch(program, i)
        expected = {}
        for n, seen in enumerate(inputs_of(plain(program, i), kinds[activation], x), 1):
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


@nets
@together
def test_the_landscape_is_what_a_walk_along_the_gradient_meets(model, norm, together):
    program, found = probed("landscape", together, model=model, norm=norm)
    for i, values in enumerate(found):
        x, y = next_batch(program, i)
        trial = program.trials[i]
        lr = trial.lr * lr_factor(trial, STEPS - 1, STEPS)

        def at(weights, i=i, x=x, y=y):
            module = plain(program, i)
            nn.utils.vector_to_parameters(weights, module.parameters())
            loss = F.cross_entropy(module(x), y)
            return loss.item(), torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()))])

        start = nn.utils.parameters_to_vector(plain(program, i).parameters()).detach()
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


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "rms"])
@together
def test_sharpness_is_the_largest_eigenvalue_of_the_hessian(norm, together):
    program, found = probed("sharpness", together, dataset="circles", model="mlp-2", norm=norm, activation="tanh")
    for i, values in enumerate(found):
        module = plain(program, i).double()
        x, y = fixed_batch(program, i)
        shapes = {name: weight.shape for name, weight in module.named_parameters()}

        def loss(flat, module=module, shapes=shapes, x=x, y=y):
            parts = flat.split([shape.numel() for shape in shapes.values()])
            named = {name: part.view(shapes[name]) for name, part in zip(shapes, parts, strict=True)}
            return F.cross_entropy(torch.func.functional_call(module, named, (x.double(),)), y)

        flat = nn.utils.parameters_to_vector(module.parameters()).detach()
        expected = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat)).max().item()
        assert values["sharpness"] == pytest.approx(expected, rel=1e-4)


@given(st.integers(1, 9), st.integers(0, 999))
def test_lanczos_finds_the_largest_eigenvalue_of_each_matrix_and_comes_near_it_from_below(size, seed):
    rng = torch.Generator().manual_seed(seed)
    some = torch.randn(3, size, size, generator=rng, dtype=torch.float64)
    matrices = some + some.mT
    start = torch.randn(3, size, generator=rng, dtype=torch.float64)
    expected = torch.linalg.eigvalsh(matrices).amax(1)

    def product(v):
        return torch.einsum("mpq,mq->mp", matrices, v)

    torch.testing.assert_close(largest_eigenvalue(product, start, size), expected)
    fewer = largest_eigenvalue(product, start, (size + 1) // 2)
    assert (fewer <= expected + 1e-9).all()


def test_a_model_that_is_no_number_has_no_sharpness():
    found = largest_eigenvalue(lambda v: v * torch.tensor([[2.0], [torch.nan]]), torch.randn(2, 5), 4)
    assert found[0].item() == pytest.approx(2.0)
    assert found[1].isnan()


@pytest.mark.parametrize("model", ["mlp-6x2", "cnn-4-6"])
@pytest.mark.parametrize("momentum", [0.1, "cumulative"])
@together
def test_running_statistics_are_held_against_averages_over_the_training_examples(model, momentum, together):
    program, found = probed("running", together, model=model, norm="batch", norm_momentum=momentum)
    count = program.dataset.size("train")
    x, _ = examples(program, torch.randperm(count, generator=generator(0, "recalibrate")))
    pieces = x.tensor_split(list(range(SIZE, count - 1, SIZE)))
    for i, values in enumerate(found):
        module = plain(program, i)
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
    program, found = probed("weights", together, model=model, norm=norm)
    for i, values in enumerate(found):
        trial = program.trials[i]
        rate = trial.lr * lr_factor(trial, STEPS - 1, STEPS)
        sizes = [np.linalg.norm(layer.weight.detach().numpy()) for layer in weighted(plain(program, i))]
        expected = {f"weight_norm/{n}": size for n, size in enumerate(sizes, 1)}
        if norm != "none":  # the last layer gives the scores, which nothing normalises
            expected |= {f"effective_lr/{n}": rate / size**2 for n, size in enumerate(sizes[:-1], 1)}
        assert values == pytest.approx(expected, rel=1e-5)


@nets
def test_doubling_weights_that_have_an_effective_rate_changes_no_output(model, norm):
    program, found = probed("weights", None, model=model, norm=norm)
    module = plain(program, 0).double()
    x, _ = fixed_batch(program, 0)
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
    for cohort in (trials, *[[replace(trial, together=1)] for trial in trials]):
        program = prepare(cohort, DATA["digits"], CPU, {"own_net": own_net})
        assert program.stack.mode == ("vmap" if len(cohort) > 1 else "alone")
        for _ in train(program):
            pass
        found.append({name: curve for name, curve in program.curves.items() if name.startswith("probe.")})
    cohort, *alone = found
    assert "probe.saturated/1" in cohort
    assert ("probe.running_mean_error/1" in cohort) == (norm == "batch")
    for i, mine in enumerate(alone):
        for name, curve in mine.items():
            tolerance = 0.02 if "landscape" in name or "beta" in name else 2e-3
            assert cohort[name][:, i].tolist() == pytest.approx(
                curve[:, 0].tolist(), rel=tolerance, abs=1e-5, nan_ok=True
            ), name
