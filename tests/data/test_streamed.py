"""Which data stay on disk, and what is refused of them."""

import os
import threading

import numpy as np
import pytest
from torch.utils.data import TensorDataset

from harness.data import streamed
from harness.data.read_ahead import read_ahead
from harness.data.streamed import Streamed, StreamedExamples
from harness.errors import SuiteError
from tests.support.streamed import Images, every_source, loaded

N = 60
X = np.random.default_rng(0).normal(size=(N, 3, 2)).astype(np.float32)
Y = np.arange(N) % 3


def test_examples_on_disk_are_split_and_read_as_those_in_memory(tmp_path):
    sources = every_source(X, Y, tmp_path)
    memory = sources.pop("memory")
    for data in sources.values():
        for split in memory.x:
            assert isinstance(data.x[split], StreamedExamples)
            assert np.array_equal(data.x[split], memory.x[split])
            assert np.array_equal(data.x[split][[3, 1]], memory.x[split][[3, 1]])
            assert np.array_equal(data.y[split], memory.y[split])


def test_a_memory_map_stays_on_disk_by_itself_where_it_takes_much_of_the_memory(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", X)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert isinstance(loaded((x, Y)).x["train"], np.ndarray)
    monkeypatch.setattr(streamed, "_memory_bytes", lambda: 3 * X.nbytes)
    assert isinstance(loaded((x, Y)).x["train"], StreamedExamples)
    assert isinstance(loaded((X, Y)).x["train"], np.ndarray)  # it is in memory already


def test_values_of_other_types_are_made_the_floats_of_arrays(tmp_path):
    np.save(tmp_path / "x.npy", x := (X * 100).astype(">i2"))
    on_disk = loaded((Streamed(np.load(tmp_path / "x.npy", mmap_mode="r")), Y))
    expected = loaded((x, Y))
    assert np.array_equal(on_disk.x["train"], expected.x["train"])
    assert np.asarray(on_disk.x["train"]).dtype == np.float32


@pytest.mark.parametrize("asked_for", [0, 1, 2])
def test_as_many_processes_make_items_as_are_asked_for(asked_for):
    assert loaded(Streamed(Images(X, Y), num_workers=asked_for)).x["train"].num_workers == asked_for


class Noting(Images):
    """Notes by which thread of which process an item is made."""

    def __init__(self):
        super().__init__(X, Y)
        self.makers = []

    def __getitem__(self, i):
        self.makers.append((os.getpid(), threading.get_ident()))
        return super().__getitem__(i)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_items_are_made_by_training_or_by_a_process_and_by_no_thread_beside_it(num_workers):
    # A thread that runs Python takes it from training: cheap items came at half the pace of torch's DataLoader
    examples = loaded(Streamed(dataset := Noting(), num_workers=num_workers)).x["train"]
    expected, parts = loaded((X, Y)).x["train"], [np.array([5, 2]), np.array([0])]
    dataset.makers.clear()
    for part, made in zip(parts, read_ahead(examples, parts), strict=True):
        assert np.array_equal(made, expected[part])
    assert dataset.makers == [(os.getpid(), threading.get_ident())] * (0 if num_workers else 3)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ((Streamed([[1.0]] * N), Y), "Streamed takes a memory map"),
        ({"x": Streamed(TensorDataset()), "y": Y}, "Streamed takes a memory map"),
        ((Streamed(X[:5]), Y), r"needs a target for each of two examples or more, got \(5, 3, 2\)"),
        ((Streamed(X.astype(str)), Y), "holds text"),
    ],
)
def test_what_can_not_be_read_from_disk_is_refused_in_a_line(made, message):
    with pytest.raises(SuiteError, match=message):
        loaded(made)
