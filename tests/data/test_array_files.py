"""Tables and archives of arrays, some of them by strangers."""

import io
import os
import zipfile

import numpy as np
import pytest
import torch

from harness.data.array_files import read_csv, read_npz
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


def test_a_table_has_examples_in_rows_and_labels_in_a_column_of_that_name(tmp_path):
    (tmp_path / "a.csv").write_text("first, label, second\n1, 2, 3.5\n4, 0, 6\n")
    x, y = read_csv(tmp_path / "a.csv")
    assert (x.tolist(), y.tolist()) == ([[1, 3.5], [4, 6]], [2, 0])


def test_a_table_without_names_loses_no_row(tmp_path):
    (tmp_path / "a.csv").write_text("1,2\n3,4e-1\n")
    x, y = read_csv(tmp_path / "a.csv")
    assert y is None
    np.testing.assert_allclose(x, [[1, 2], [3, 0.4]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no table"),
        ("a,b\n", "it has no rows"),
        ("a,b\n1,x\n", "column 'b' holds more than numbers"),
        ("a,b\n1,\n", "NaN, infinite or missing"),
        ("a,b\n1,1e999\n", "NaN, infinite or missing"),
        ("a,b\n1,2,3\n4,5,6,7\n", "no table|shape"),
        ("a,b,c\n1,2,3\n", r"shape \(N, 2\)"),
        ("a,b,label\n1,2,3\n", "whole numbers from 0 to 2"),
        ("a,b,label\n1,2,-1\n", "whole numbers from 0 to 2"),
        ("a,b,label\n1,2,0.5\n", "whole numbers from 0 to 2"),
        ("a,b,label\n1,2,\n", "whole numbers from 0 to 2"),
        ("a,b,label\n1,2,x\n", "whole numbers from 0 to 2"),
        ("\x00\x01", "no table|shape|numbers"),
        ("[" * 100_000, "no table|shape|numbers"),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(tmp_path, text, said):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UsageError, match=said) as refused:
        read_examples(str(tmp_path / "a.csv"), (2,), 3, {})
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 400


def test_examples_take_the_shape_of_the_model(tmp_path):
    np.savez(tmp_path / "flat.npz", x=np.arange(24).reshape(2, 12), y=[0, 1])
    np.savez(tmp_path / "test.npz", x_test=np.arange(24).reshape(2, 3, 4), x_train=np.zeros(3))
    flat, cut = (read_examples(str(tmp_path / name), (1, 3, 4), 2, {}) for name in ("flat.npz", "test.npz"))
    assert flat.x.shape == (2, 1, 3, 4)
    assert torch.equal(flat.x, cut.x)
    assert flat.y.tolist() == [0, 1]
    assert cut.y is None
    np.savez(tmp_path / "other.npz", z=np.zeros(3))
    with pytest.raises(UsageError, match="needs an array x"):
        read_examples(str(tmp_path / "other.npz"), (1, 3, 4), 2, {})


def test_a_dataset_gives_its_test_examples():
    found = read_examples("digits", (64,), 10, {})
    assert found.x.shape == (540, 64)
    assert len(found.y) == 540
