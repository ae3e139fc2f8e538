"""Batch norm over several ranks against one process on the joined batch."""

import pytest
import torch
from torch import nn

from tests.support import rank_processes

BATCH = {0: nn.BatchNorm1d, 2: nn.BatchNorm2d}
EXACT = {torch.float64: 1e-10, torch.float32: 2e-6}
OPTIONS = [{}, {"affine": False}, {"track_running_stats": False}, {"momentum": None}, {"momentum": 0.7, "eps": 0.1}]


def in_one_process(shards, dims, options, dtype):
    """The same by torch's batch norm in double precision on all examples at once."""
    layer = rank_processes.layer_of(options, torch.float64, BATCH[dims])
    steps = []
    for step in range(3 if layer.track_running_stats else 2):
        layer.train(step < 2)
        x = torch.cat(rank_processes.batches(shards, dims, dtype, step)).double().requires_grad_()
        out = layer(x)
        steps.append({"out": out.detach()})
        if step < 2:
            out.backward(torch.cat(rank_processes.batches(shards, dims, dtype, 9 + step)).double())
            grads = {f"grad {name}": weight.grad.clone() for name, weight in layer.named_parameters()}
            buffers = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
            steps[-1] |= {"grad": x.grad, **grads, **buffers}
    return steps


def joined(found, name):
    """What the ranks found, as one process would have it."""
    if name in ("out", "grad"):
        return torch.cat([one[name] for one in found]).double()
    if name.startswith("grad "):
        return sum(one[name].double() for one in found)
    assert all(torch.equal(one[name], found[0][name]) for one in found), f"{name} differs between ranks"
    return found[0][name].double()


@pytest.mark.parametrize("dtype", EXACT, ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(
    ("shards", "dims"), [([5, 5], 0), ([1, 1], 0), ([4, 4, 4], 2), ([1, 6, 2], 2), ([7, 0], 0), ([0, 1, 3], 2)], ids=str
)
def test_ranks_together_are_one_process_on_the_joined_batch(ranks, shards, dims, options, dtype):
    if sum(shards) == 2 and "eps" not in options:
        options = {**options, "eps": 0.1}  # two values are normalised to -1 and 1, whatever they are
    found = ranks(len(shards), rank_processes.normalise, shards, dims, options, dtype, False)
    for step, expected in enumerate(in_one_process(shards, dims, options, dtype)):
        for name, value in expected.items():
            scale = EXACT[dtype] * (1 + value.double().abs().max())
            torch.testing.assert_close(joined([one[step] for one in found], name), value.double(), rtol=0, atol=scale)


def test_under_autocast_half_inputs_have_statistics_in_single_precision(ranks):
    found = ranks(2, rank_processes.normalise, [5, 3], 0, {}, torch.bfloat16, True)
    expected = in_one_process([5, 3], 0, {}, torch.bfloat16)
    for step in range(3):
        out = joined([one[step] for one in found], "out")
        torch.testing.assert_close(out, expected[step]["out"], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("shards", [[1, 0], [0, 1, 0], [0, 0]])
def test_one_value_on_all_ranks_together_is_refused_by_every_rank_at_once(ranks, shards):
    said = ranks(len(shards), rank_processes.raises_alike, shards)
    assert len(set(said)) == 1
    assert "more than 1 value per channel" in said[0]
