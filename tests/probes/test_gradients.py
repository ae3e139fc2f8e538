"""Gradient norms against those of backward, and their growth against what theory predicts."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from harness import batch_norm_gradient_growth
from harness.probes.gradients import growth, longest_run
from harness.training.loop import train
from harness.training.state import init_state
from tests.support.probes_by_hand import BASE, CPU, DATA, fixed_batch, nets, plain, probed, together, weighted


@nets
@together
def test_gradient_norms_are_those_of_backward(model, norm, together):
    state, found = probed("gradients", together, model=model, norm=norm)
    for i, values in enumerate(found):
        module = plain(state, i)
        x, y = fixed_batch(state, i)
        F.cross_entropy(module(x), y).backward()
        expected = {f"gradient_norm/{n}": layer.weight.grad.norm() for n, layer in enumerate(weighted(module), 1)}
        expected["gradient_growth"] = torch.tensor(torch.nan)  # no three layers have one shape
        expected = {name: value.item() for name, value in expected.items()}
        assert values == pytest.approx(expected, rel=2e-4, nan_ok=True)


@pytest.mark.parametrize("norm", ["none", "batch"])
@together
def test_a_batch_that_is_learnt_from_in_parts_is_probed_in_these_parts(norm, together):
    state, found = probed("gradients", together, norm=norm, accumulation_steps=5)
    for i, values in enumerate(found):
        module = plain(state, i)
        x, y = fixed_batch(state, i)
        for some_x, some_y in zip(x.chunk(5), y.chunk(5), strict=True):
            (F.cross_entropy(module(some_x), some_y) / 5).backward()
        expected = {
            f"gradient_norm/{n}": layer.weight.grad.norm().item() for n, layer in enumerate(weighted(module), 1)
        }
        assert {name: values[name] for name in expected} == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize(("norm", "batch"), [("batch", 8), ("batch", 25), ("none", 25)])
def test_gradients_of_a_deep_net_grow_as_theory_foretells(norm, batch):
    """At depth 50 in single precision; the theory is of wide nets, so that a width of 64 is a few percent off."""
    base = replace(BASE, model="mlp-64x50", norm=norm, batch_size=batch, steps=1, probes="gradients")
    state = init_state([replace(base, seed=s) for s in range(5)], DATA["digits"], CPU, {})
    next(train(state))
    expected = batch_norm_gradient_growth(batch) if norm == "batch" else 1.0
    curves = state.curves
    assert curves["probe.gradient_growth"][0].log().mean().exp().item() == pytest.approx(expected, rel=0.06)
    assert all(torch.isfinite(curves[f"probe.gradient_norm/{n}"][0]).all() for n in range(1, 52))
    first, last = (curves[f"probe.gradient_norm/{n}"][0, 3].item() for n in (2, 50))
    assert (first / last) ** (2 / 48) == pytest.approx(curves["probe.gradient_growth"][0, 3].item(), rel=0.1)


def test_the_growth_is_fitted_over_the_longest_run_of_layers_of_one_shape():
    assert longest_run([(3, 2), (3, 3), (3, 3), (4, 3), (4, 4), (4, 4), (4, 4), (2, 4)]) == (4, 7)
    norms = torch.tensor([[8.0, 1.0], [4.0, 1.0], [2.0, 1.0], [1.0, 1.0]])
    torch.testing.assert_close(growth(norms), torch.tensor([4.0, 1.0]))
    assert growth(norms[:2]).isnan().all()
