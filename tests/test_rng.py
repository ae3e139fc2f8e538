"""Streams that a seed, a name and a step give."""

import torch

from harness.rng import seed_default_generators


def test_the_default_generators_start_where_torch_would_start_them():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        expected = torch.rand(3)
        seed_default_generators(7)
        assert torch.equal(torch.rand(3), expected)
