"""Which data stay on disk, and what is refused of them."""

import numpy as np
import pytest
from torch.utils.data import TensorDataset

from harness.data import streamed
from harness.data.streamed import Streamed, StreamedExamples
from harness.errors import SuiteError
from tests.support.streamed import Images, loaded, three_sources

N = 60
X = np.random.default_rng(0).normal(size=(N, 3, 2)).astype(np.float32)
Y = np.arange(N) % 3


def test_examples_on_disk_are_split_and_read_as_those_in_memory(tmp_path):
    sources = three_sources(X, Y, tmp_path)
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
