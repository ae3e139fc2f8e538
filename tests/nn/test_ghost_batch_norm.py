"""Ghost batch norm against batch norm itself, group by group."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from harness.nn.ghost_batch_norm import GhostBatchNorm

C = 3


def batch_norm(ghost: GhostBatchNorm, dims: int) -> nn.Module:
    """A batch norm with the same tensors."""
    kind = {0: nn.BatchNorm1d, 2: nn.BatchNorm2d}[dims]
    layer = kind(C, ghost.eps, ghost.momentum, ghost.affine, ghost.track_running_stats).double()
    layer.load_state_dict(ghost.state_dict())
    return layer


def ghost_norm(norm_batch: int, **options) -> GhostBatchNorm:
    layer = GhostBatchNorm(C, norm_batch, dtype=torch.float64, **options)
    for tensor in layer.parameters():
        nn.init.uniform_(tensor, 0.5, 1.5, torch.Generator().manual_seed(tensor.numel()))
    return layer


def batch(examples: int, dims: int) -> torch.Tensor:
    shape = (examples, C, *(4, 5)[:dims])
    return 2 + torch.randn(shape, generator=torch.Generator().manual_seed(examples), dtype=torch.float64)


@pytest.mark.parametrize("dims", [0, 2])
@pytest.mark.parametrize(
    "options", [{}, {"affine": False}, {"track_running_stats": False}, {"momentum": None}], ids=str
)
@pytest.mark.parametrize(("examples", "sizes"), [(8, [4, 4]), (11, [4, 7]), (13, [4, 4, 5]), (3, [3])])
def test_each_group_is_normalised_by_itself_and_what_is_left_joins_the_last(examples, sizes, options, dims):
    ghost = ghost_norm(4, **options)
    apart = [batch_norm(ghost, dims) for _ in sizes]
    for step in range(2):
        x = (batch(examples, dims) + step).requires_grad_()
        out = ghost(x)
        expected = torch.cat([layer(part) for layer, part in zip(apart, x.split(sizes), strict=True)])
        torch.testing.assert_close(out, expected)
        noise = torch.randn_like(out)
        ours, theirs = (torch.autograd.grad(some, x, noise)[0] for some in (out, expected))
        torch.testing.assert_close(ours, theirs)
    for name, buffer in ghost.named_buffers():
        mean = torch.stack([layer.get_buffer(name).double() for layer in apart]).mean(0)
        torch.testing.assert_close(buffer.double(), mean)
    if ghost.track_running_stats:
        torch.testing.assert_close(ghost.eval()(x), batch_norm(ghost, dims).eval()(x))


def test_over_the_whole_batch_it_is_batch_norm():
    ghost = ghost_norm(7)
    whole = batch_norm(ghost, 0)
    torch.testing.assert_close(ghost(batch(7, 0)), whole(batch(7, 0)))
    torch.testing.assert_close(ghost.state_dict(), whole.state_dict())


def test_a_frozen_one_moves_nothing():
    ghost = ghost_norm(4).eval()
    before = deepcopy(ghost.state_dict())
    ghost(batch(9, 2))
    torch.testing.assert_close(ghost.state_dict(), before, rtol=0, atol=0)
