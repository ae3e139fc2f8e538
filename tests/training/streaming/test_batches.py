"""What trains on examples on disk is to the bit what trains on the same examples in memory."""

import os
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.data.read_ahead import read_ahead
from harness.data.streamed import Streamed
from harness.data.streamed_tensors import StreamedTensor
from harness.errors import SuiteError
from harness.spec.trial import Trial
from harness.training.loop import train
from harness.training.state import init_state
from harness.training.streaming.pieces import PIECE
from tests.support.stopping import train_until
from tests.support.streamed import Images, every_source, loaded

CPU = torch.device("cpu")
N, SHAPE = 197, (3, 6, 5)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, *SHAPE)).astype(np.float32)
BASE = Trial(dataset="own", model="mlp-10-6", lr=0.05, batch_size=20, steps=13, eval_every=6, device="cpu")
TRIALS = {  # 108 training examples: 5 steps in an epoch
    "compiled": {"norm": "batch", "momentum": 0.9},
    "stacked": {"model": "resnet-8", "norm": "group", "steps": 3},
    "augmented, in parts": {"model": "cnn-4", "augment": "flip+crop", "accumulation_steps": 3},
    "noise, twice as precise": {"label_noise": 0.2, "precision": "float64"},
    "recalibrated": {"model": "cnn-4", "norm": "batch", "eval_statistics": "recalibrated"},
    "statistics of batches": {"norm": "batch", "eval_statistics": "batch"},
    "probed": {"norm": "batch", "probes": "gradients+running+landscape"},
    "all at once": {"batch_size": 107},
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return every_source(X, np.arange(N) % 3, tmp_path_factory.mktemp("data"))


def start(data, settings, models=3):
    """Models of which two have one seed."""
    trials = [replace(BASE, **settings, seed=i // 2, lr=0.02 * (1 + i)) for i in range(models)]
    return init_state(trials, data, CPU, {})


def finish(state, done=0):
    for _ in train(state, done):
        pass
    return state.tensors


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=0, equal_nan=True, msg=name)


@pytest.mark.parametrize("settings", TRIALS.values(), ids=TRIALS)
def test_examples_on_disk_train_to_the_bits_of_those_in_memory(sources, settings):
    expected = finish(start(sources["memory"], settings))
    state = start(sources["memory map"], settings)
    assert isinstance(state.data["test"][0], StreamedTensor)
    assert_same(finish(state), expected)


def test_items_that_a_process_makes_train_to_the_bits_of_arrays(sources):
    settings = TRIALS["compiled"] | {"eval_every": 13}
    assert_same(finish(start(sources["items"], settings)), finish(start(sources["memory"], settings)))


@pytest.mark.parametrize("source", ["memory map", "items"])
def test_stopped_in_mid_epoch_and_resumed_it_trains_to_the_same_bits(sources, source):
    settings = TRIALS["augmented, in parts"] | {"eval_every": 13}
    expected = finish(start(sources["memory"], settings))
    stopped = start(sources[source], settings)
    done = train_until(stopped, 9)
    assert done == 8  # in the second epoch
    resumed = start(sources[source], settings)
    resumed.restore(stopped.tensors)
    assert_same(finish(resumed, done), expected)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_splits_larger_than_a_piece_are_evaluated_to_the_bits_of_one_batch(tmp_path, task):
    x = RNG.normal(size=(9001, 7)).astype(np.float32)
    y = np.arange(len(x)) % 3 if task == "classification" else x[:, :2]
    data, settings = (
        every_source(x, y, tmp_path, task=task),
        {"norm": "layer", "steps": 2, "task": task, "precision": "float64"},
    )
    assert len(data["memory"].x["test"]) > 2 * PIECE
    assert_same(finish(start(data["memory map"], settings)), finish(start(data["memory"], settings)))


def test_tokens_on_disk_train_as_in_memory(tmp_path):
    tokens = RNG.integers(0, 11, (50, 8))
    np.save(tmp_path / "tokens.npy", tokens)
    on_disk = Streamed(np.load(tmp_path / "tokens.npy", mmap_mode="r"))
    memory, streamed = ({"x": x, "y": tokens.sum(1) % 2, "vocabulary": 11} for x in (tokens, on_disk))
    settings = {"model": "transformer-8x1", "norm": "layer", "steps": 3}
    assert_same(finish(start(loaded(streamed), settings)), finish(start(loaded(memory), settings)))


@pytest.mark.parametrize("source", ["memory map", "items"])
def test_a_value_that_is_no_number_is_named_when_it_is_read(tmp_path, source):
    x = X.copy()
    x[70, 1, 2, 3] = np.nan
    np.save(tmp_path / "x.npy", x)
    made = Streamed(np.load(tmp_path / "x.npy", mmap_mode="r")), np.arange(N) % 3
    data = loaded(made if source == "memory map" else Streamed(Images(x, made[1]), num_workers=1))
    with pytest.raises(SuiteError, match=r"nan at \[70, 1, 2, 3\] can't be learnt from"):
        finish(start(data, {}))


def test_two_ranks_read_their_own_examples_and_train_as_in_memory(ranks, tmp_path):
    answers = ranks(2, on_ranks, X, tmp_path)
    assert len(answers) == 2
    for in_memory, *on_disk in answers:
        for state in on_disk:
            assert_same(state, in_memory)


def on_ranks(x, folder, dist):
    folder = folder / str(dist.rank)
    folder.mkdir()
    data = every_source(x, np.arange(N) % 3, folder)
    trial = replace(BASE, norm="batch", world_size=2, accumulation_steps=2)
    return [finish(init_state([trial], data[name], CPU, {}, dist)) for name in data]


def test_before_python_3_12_no_process_is_forked_beside_collectives(ranks):
    # Such a child waited for good where a thread of gloo joined the interpreter at that moment: once in 600 forks
    for makers in ranks(2, makers_on_ranks):
        assert makers == {"training"} if sys.version_info < (3, 12) else {"a process"}


def makers_on_ranks(dist):  # noqa: ARG001
    rank, examples = os.getpid(), loaded(Streamed(Images(X, np.arange(N) % 3), num_workers=1)).x["train"]
    read = examples.source.examples

    def noting(rows):
        return np.full_like(read(rows), os.getpid())

    noted = replace(examples, source=replace(examples.source, examples=noting))
    parts = read_ahead(noted, [np.array([0, 1]), np.array([2])])
    return {"training" if (part == rank).all() else "a process" for part in parts}
