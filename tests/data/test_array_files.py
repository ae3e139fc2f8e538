"""Tables and archives of arrays, some of them by strangers."""

import io
import os
import zipfile

import numpy as np
import pytest
import torch

from harness.data.array_files import read_npz
from harness.errors import SuiteError, UsageError
from harness.export.evaluate import read_examples


def header(shape, data=b"", dtype="<f8"):
    """An .npy file that claims a shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def archive(path, entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as zipped:
        for name, data in entries.items():
            zipped.writestr(name, data)
    return path


def test_arrays_come_back_as_they_were_saved(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(6.0).reshape(2, 3), y=np.array([1, 0]))
    np.savez_compressed(tmp_path / "b.npz", x=np.arange(6.0).reshape(2, 3), y=np.array([1, 0]))
    for name in ("a.npz", "b.npz"):
        found = read_npz(tmp_path / name)
        assert found["x"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert found["y"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"x.npy": header((10**11,))}, "claims a shape"),
        ({"x.npy": header((10**9,), b"\0" * 2**24)}, "claims a shape"),
        ({"x.npy": header((2**40, 2**40), b"\0" * 8)}, "claims a shape"),
        ({"x.npy": b"\0" * 2**27}, "unfolds"),
        ({"x.npy": b"no array"}, "magic"),
        ({"x.npy": header((1,), dtype="|O") + b"\x80\x04."}, "pickle|claims"),
    ],
    ids=["a long array", "an array past the end", "an overflow", "a bomb", "a text", "a pickle"],
)
def test_a_hostile_archive_is_refused_before_room_is_made_for_it(tmp_path, entries, said):
    path = archive(tmp_path / "a.npz", entries, zipfile.ZIP_DEFLATED)
    with pytest.raises(SuiteError, match=said):
        read_npz(path)


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04")
    os.mkfifo(tmp_path / "pipe.npz")
    for name in ("a.npz", "pipe.npz", "none.npz"):
        with pytest.raises(SuiteError, match=name):
            read_npz(tmp_path / name)


def test_examples_take_the_shape_of_the_model(tmp_path):
    np.savez(tmp_path / "flat.npz", x=np.arange(24).reshape(2, 12), y=[0, 1])
    np.savez(tmp_path / "test.npz", x_test=np.arange(24).reshape(2, 3, 4), x_train=np.zeros(3))
    flat, cut = (read_examples(str(tmp_path / name), (1, 3, 4), range(2), {}) for name in ("flat.npz", "test.npz"))
    assert flat.x.shape == (2, 1, 3, 4)
    assert torch.equal(flat.x, cut.x)
    assert flat.y.tolist() == [0, 1]
    assert cut.y is None
    np.savez(tmp_path / "other.npz", z=np.zeros(3))
    with pytest.raises(UsageError, match="needs an array x"):
        read_examples(str(tmp_path / "other.npz"), (1, 3, 4), range(2), {})


def test_a_dataset_gives_its_test_examples():
    found = read_examples("digits", (64,), range(10), {})
    assert found.x.shape == (540, 64)
    assert len(found.y) == 540


@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 4, 3, 1), (5, 12, 1), (5, 2, 6), (12,), (0, 3, 4), (5, 11)])
def test_examples_of_another_shape_are_not_cut_to_fit(tmp_path, shape):
    np.savez(tmp_path / "a.npz", x=np.zeros(shape))
    with pytest.raises(UsageError, match=r"the model takes numbers of shape \(N, 1, 3, 4\), got float64 of shape"):
        read_examples(str(tmp_path / "a.npz"), (1, 3, 4), range(2), {})


@pytest.mark.parametrize(
    ("labels", "given", "classes"),
    [
        (("cat", "dog"), ["dog", "cat", "dog"], [1, 0, 1]),
        ((-1, 1), [1, 1, -1], [1, 1, 0]),
        ((3, 7, 10**9), np.array([7, 10**9, 3], dtype=np.uint64), [1, 2, 0]),
        ((False, True), [0, 1, 1], [0, 1, 1]),
        ((False, True), [True, False, True], [1, 0, 1]),
        (range(3), [2.0, 0.0, 1.0], [2, 0, 1]),
        (("1", "2"), [2, 1, 2], [1, 0, 1]),
    ],
)
def test_labels_are_those_of_the_model_whatever_they_are(tmp_path, labels, given, classes):
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)), y=given)
    assert read_examples(str(tmp_path / "a.npz"), (2,), labels, {}).y.tolist() == classes
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)), y=[*given[:2], 8])
    with pytest.raises(UsageError, match=r"label '?8'? is none of the model's: "):
        read_examples(str(tmp_path / "a.npz"), (2,), labels, {})


def test_a_file_of_another_kind_is_no_name_of_a_dataset(tmp_path):
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"examples are read from \.csv and \.npz files"):
        read_examples(str(tmp_path / "a.xlsx"), (2,), range(2), {})
