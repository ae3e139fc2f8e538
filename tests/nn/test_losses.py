"""The gradient of the cross-entropy: two ways to take one from the right share, of which each device has one."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.nn.losses import _subtract_by_index, _subtract_by_mask, cross_entropy


@given(st.integers(1, 4), st.integers(2, 7), st.integers(1, 9), st.integers(0, 99))
def test_both_ways_give_the_same_bits(models, classes, examples, seed):
    rng = torch.Generator().manual_seed(seed)
    shares = torch.rand(models, classes, examples, generator=rng)
    right = torch.randint(0, classes, (models, 1, examples), generator=rng)
    assert torch.equal(_subtract_by_index(shares.clone(), right), _subtract_by_mask(shares.clone(), right))


def test_losses_and_gradients_are_torchs_own():
    rng = torch.Generator().manual_seed(0)
    out = torch.randn(3, 4, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    y = torch.randint(0, 4, (3, 5), generator=rng)
    losses, grad = cross_entropy(out.detach(), y)
    expected = torch.nn.functional.cross_entropy(out, y, reduction="none").mean(1)
    torch.testing.assert_close(losses, expected.detach())
    torch.testing.assert_close(grad, *torch.autograd.grad(expected.sum(), out))
