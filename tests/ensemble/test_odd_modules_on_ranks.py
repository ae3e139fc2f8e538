"""Whatever torch allows in a module trains on several ranks as on one, and goes on there to the bit."""

import pytest
import torch
from torch import Tensor

from harness.ensemble.distributed import SINGLE_PROCESS, sync_buffers
from tests.support import rank_processes
from tests.support.odd_modules import BUFFER_DTYPES, KINDS, SHAPES
from tests.support.rank_processes import trial_of

HAVE_STATISTICS = {kind for kind in KINDS if "running" in kind or kind == "tied buffers"}  # each rank its own


def trial_for(kind):
    return trial_of(model=kind, norm="layer", init="default", world_size=2, momentum=0.9, weight_decay=0.1)


def learn(ranks, trial, until=None, saved=None, done=0):
    return [found for found, _ in ranks(2, rank_processes.learn, trial, "float64", until, saved, done)]


def assert_same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    for name, value in other.items():
        (ours, theirs) = (torch.view_as_real(t) if t.is_complex() else t.nan_to_num(7e30) for t in (one[name], value))
        assert torch.equal(ours, theirs), name


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_learns_on_ranks_what_one_process_learns_and_goes_on_to_the_bit(ranks, kind):
    trial = trial_for(kind)
    whole = learn(ranks, trial)
    if kind not in HAVE_STATISTICS:
        alone, _ = rank_processes.learn(trial_of(**vars_of(trial)), "float64", None, None, 0, SINGLE_PROCESS)
        for name, value in alone.items():
            if name.startswith(("weight/", "buffer/")):
                torch.testing.assert_close(whole[0][name], value, rtol=1e-9, atol=1e-11)
    saved = learn(ranks, trial, until=5)[0]
    for resumed, uninterrupted in zip(learn(ranks, trial, saved=saved, done=5), whole, strict=True):
        assert_same_bits(resumed, uninterrupted)


def test_a_model_that_draws_comes_to_the_same_twice_and_goes_on_to_the_bit(ranks):
    trial = trial_of(model="drawing", init="default", world_size=2, accumulation_steps=2)
    whole = learn(ranks, trial)
    ranks(2, rank_processes.draw)
    again = learn(ranks, trial)
    saved = learn(ranks, trial, until=5)[0]
    ranks(2, rank_processes.draw)
    resumed = learn(ranks, trial, saved=saved, done=5)
    for i in range(2):
        assert_same_bits(again[i], whole[i])
        assert_same_bits(resumed[i], whole[i])
    assert whole[0]["buffer/seen"].item() == 9 * 2
    other = learn(ranks, trial_of(**{**vars_of(trial), "seed": 1}, world_size=2))
    assert not torch.equal(other[0]["weight/1.weight"], whole[0]["weight/1.weight"])


def vars_of(trial):
    return {name: value for name, value in trial.content.items() if name != "world_size"}


def numbers(dtype, shape, value):
    """A tensor that is not contiguous, where it has dimensions enough."""
    tensor = torch.full(shape, value).to(dtype)
    return tensor.transpose(0, -1) if shape else tensor


def exchanged(ranks):
    """What a tensor of every type and shape comes to that ranks gather, that the first one sends, or they average."""
    tensors = {}
    for dtype in BUFFER_DTYPES:
        for shape in (*SHAPES, (2, 3)):
            own = numbers(dtype, shape, ranks.rank + 1.0)
            sent, mean = own.clone(), own.clone()
            ranks.broadcast(sent)
            sync_buffers([mean], "mean", ranks)
            tensors[dtype, shape] = (ranks.gather(own), sent, mean)
    return tensors


def test_ranks_exchange_tensors_of_every_type_and_shape(ranks):
    for tensors in ranks(2, exchanged):
        for (dtype, shape), (gathered, sent, mean) in tensors.items():
            one, two = numbers(dtype, shape, 1.0), numbers(dtype, shape, 2.0)
            assert [part.dtype for part in gathered] == [dtype, dtype]
            assert all(map(torch.equal, gathered, (one, two)))
            assert torch.equal(sent, one)
            averaged = (one + two) / 2 if dtype.is_floating_point or dtype.is_complex else one
            assert torch.equal(mean, averaged.to(dtype))
