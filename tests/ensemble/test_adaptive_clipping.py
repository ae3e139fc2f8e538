"""Adaptive gradient clipping against the formula of its paper in numpy."""

import numpy as np
import torch
from torch import nn

from harness.ensemble.optim.adaptive_clipping import adaptive_clip_grad, head_parameters
from harness.ensemble.optim.clipping import limits_like
from tests.support.strategies import a_trial

SHARES = [0.01, None, 0.3]


def clipped(grad, weight, share):
    """Brock et al. 2021, equation 3: each unit by itself; vectors and numbers are one unit."""
    units = [(grad, weight)] if grad.ndim < 2 else list(zip(grad, weight, strict=True))
    factors = [min(1.0, share * max(np.linalg.norm(w), 1e-3) / max(np.linalg.norm(g), 1e-6)) for g, w in units]
    return np.reshape([f * g for f, (g, _) in zip(factors, units, strict=True)], grad.shape)


def test_gradients_are_clipped_unit_by_unit_and_not_those_of_the_head():
    rng = np.random.default_rng(0)
    shapes = {"conv": (4, 3, 2, 2), "linear": (5, 4), "bias": (5,), "number": (), "head": (3, 5)}
    grads, weights = ({name: rng.normal(size=(3, *shape)) for name, shape in shapes.items()} for _ in range(2))
    weights["bias"][0] = 0
    shares = limits_like([a_trial(adaptive_clip=share) for share in SHARES], "adaptive_clip", torch.zeros(3).double())
    found = adaptive_clip_grad(
        *({name: torch.from_numpy(value) for name, value in values.items()} for values in (grads, weights)),
        shares,
        {"head"},
    )
    for name, grad in grads.items():
        for i, share in enumerate(SHARES):
            is_free = name == "head" or share is None
            expected = grad[i] if is_free else clipped(grad[i], weights[name][i], share)
            np.testing.assert_allclose(found[name][i].numpy(), expected, rtol=1e-12)
            assert np.array_equal(found[name][i].numpy(), grad[i]) or not is_free
    assert limits_like([a_trial()], "adaptive_clip", torch.zeros(1)) is None


def test_a_model_without_a_share_keeps_its_gradient_also_where_it_is_infinite():
    grads, weights = {"a": torch.full((2, 3, 2), torch.inf)}, {"a": torch.ones(2, 3, 2)}
    found = adaptive_clip_grad(grads, weights, torch.tensor([torch.inf, torch.inf]), set())
    assert torch.equal(found["a"], grads["a"])


def test_the_head_is_the_last_layer_with_weights():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Sequential(nn.Linear(3, 2)), nn.ReLU())
    assert head_parameters(model) == {"2.0.weight", "2.0.bias"}
    assert head_parameters(nn.Linear(2, 3)) == {"weight", "bias"}
    assert head_parameters(nn.ReLU()) == frozenset()
