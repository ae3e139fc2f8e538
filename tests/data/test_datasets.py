"""The data: split once, the same for all, and refused in a line where they can't be used."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.datasets import make_circles
from sklearn.model_selection import train_test_split

from harness.data.datasets import load_dataset
from harness.data.downloads import SOURCES
from harness.data.settings import DataSettings
from harness.data.sources.bundled import DATASETS
from harness.errors import SuiteError
from harness.training.decision_boundaries import save_for_report

N = 53
X = np.random.default_rng(1).standard_normal((N, 4))
Y = np.arange(N) % 3
WORDS = np.array(["c", "b", "dog"])


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in {*SOURCES, "diabetes", "topics"}])
def test_splits_are_the_same_every_time_and_share_no_example(name, tmp_path):
    one, two = load_dataset(name, tmp_path, {}), load_dataset(name, tmp_path, {})
    rows = {split: {example.tobytes() for example in one.x[split]} for split in one.x}
    assert all(np.array_equal(one.x[split], two.x[split]) for split in one.x)
    assert not rows["train"] & rows["test"]
    assert not rows["train"] & rows["val"]
    assert not rows["val"] & rows["test"]
    for split in one.y:
        assert set(one.y[split]) == set(range(one.classes))


def test_circles_are_cut_as_the_tutorial_cuts_them(tmp_path):
    x, y = make_circles(n_samples=2000, noise=0.1, factor=0.4, random_state=42)
    x_train, x_test, _, y_test = train_test_split(x, y, test_size=0.3, random_state=42)
    circles = load_dataset("circles", tmp_path, {})
    np.testing.assert_array_equal(circles.x["train"], x_train.astype(np.float32))
    np.testing.assert_array_equal(circles.x["test"], x_test.astype(np.float32))
    np.testing.assert_array_equal(circles.y["test"], y_test)


def test_digits_are_images_between_zero_and_one(tmp_path):
    digits = load_dataset("digits", tmp_path, {})
    assert digits.input_shape == (1, 8, 8)
    assert [digits.size(split) for split in ("train", "val", "test")] == [987, 270, 540]
    assert (digits.x["train"].min(), digits.x["train"].max()) == (0, 1)


@pytest.mark.parametrize("given", ["tuple", "dict", "npz", "split npz"])
def test_own_arrays_come_in_every_form(tmp_path, given):
    whole = {"x": X, "y": Y}
    parts = {"x_train": X[:40], "y_train": Y[:40], "x_test": X[40:], "y_test": Y[40:]}
    np.savez(tmp_path / "own.npz", **(parts if given == "split npz" else whole))
    own = {"own": lambda: (X, Y) if given == "tuple" else whole}
    found = load_dataset("own.npz" if "npz" in given else "own", tmp_path, {} if "npz" in given else own)
    assert sum(found.size(split) for split in found.y) == N
    assert found.classes == 3
    if given == "split npz":
        np.testing.assert_array_equal(found.x["test"], X[40:].astype(np.float32))


@pytest.mark.parametrize(
    ("made", "word"),
    [
        ({"x": X}, "needs x and y"),
        ({"x": X, "y": Y[:-1]}, "a target for each"),
        ({"x": X, "y": Y + 0.5}, "whole numbers or text, got 0.5 at [0]"),
        ({"x": X, "y": np.where(Y == 2, np.nan, Y)}, "got nan at [2]"),
        ({"x": X, "y": np.eye(3)[Y]}, "one-hot"),
        ({"x": X, "y": Y.astype(complex)}, "whole numbers or text, got complex128"),
        ({"x": X, "y": Y.astype("M8[s]")}, "whole numbers or text, got datetime64[s]"),
        (
            {"x": X, "y": np.array([0, "a", None] * 17 + [0, 1], dtype=object)},
            "all of one type, got NoneType None at [2]",
        ),
        ({"x": X, "y": Y.astype("u8") + 2**63}, "below 2**63"),
        ({"x": X, "y": np.ma.masked_equal(Y, 2)}, "[2] is masked"),
        ({"x": X, "y": np.where(Y == 1, "None", "b")}, "tables take the name 'None' for a missing value"),
        ({"x": X, "y": np.where(Y == 1, "01", "b")}, "tables take the name '01' for a number"),
        ({"x": X, "y": np.where(Y == 1, "+", "b")}, "a class called '+' is escaped in tables"),
        ({"x": X, "y": np.where(np.arange(N) == 5, 7, Y)}, "label 7 has one example"),
        ({"x": X, "y": np.zeros(N)}, "2 to 100000 classes, got 1: 0"),
        ({"x": np.where(X > 2, np.nan, X), "y": Y}, "] can't be learnt from; fill or leave out examples with NaN"),
        ({"x": X * 1e39, "y": Y}, "is beyond float32, which ends at 3.4e38"),
        ({"x": X * 1e-60, "y": Y}, "too small for float32"),
        ({"x": X[:, 0], "y": Y}, "got x of shape"),
        ({"x": X[:, :0], "y": Y}, "got x of shape"),
        ({"x": X + 1j, "y": Y}, "complex numbers"),
        ({"x": X.astype("M8[s]"), "y": Y}, "dates"),
        ({"x": X.astype("m8[s]"), "y": Y}, "durations"),
        ({"x": X.astype(str), "y": Y}, ".astype(float) reads them"),
        ({"x": X.astype("S"), "y": Y}, "holds text"),
        ({"x": X.astype(object), "y": Y}, "holds Python objects, such as a float at [0, 0]"),
        ({"x": np.where(X > 2, None, X), "y": Y}, "holds Python objects, such as a NoneType at"),
        ({"x": np.zeros(N, dtype=[("a", "f4"), ("b", "f4")]), "y": Y}, "holds records"),
        ({"x": np.ma.masked_greater(X, 2), "y": Y}, "is masked"),
        ({"x": [[1.0], [1.0, 2.0]], "y": [0, 1]}, "can't be made an array"),
        ({"x": scipy.sparse.csr_array(X), "y": Y}, "sparse csr_array; give its .toarray()"),
        ({"x": np.arange(N)[:, None] + 2**24, "y": Y}, "16777267 at [51, 0] has more digits than float32"),
        ({"X": X, "Y": Y}, "needs x and y"),
        ({"x": X, "y": Y, "x_test": X, "y_test": Y}, "needs x and y"),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y, "x_val": X}, "needs x and y"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :3], "y_test": Y}, "one shape"),
        (
            {"x_train": X, "y_train": Y % 2, "x_test": X, "y_test": Y},
            "17 examples of the test split have a label that no",
        ),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": WORDS[Y]}, "of one type, got whole numbers in train"),
        (7, "must return"),
    ],
    ids=itertools.count(),
)
def test_data_that_can_not_be_used_are_refused_in_a_line(tmp_path, made, word):
    with pytest.raises(SuiteError) as refusal:
        load_dataset("own", tmp_path, {"own": lambda: made})
    assert word in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (Y, ()),
        (Y.astype("u1"), ()),
        (Y.astype(">i8"), ()),
        (Y.astype(float), ()),
        (Y[:, None], ()),
        (list(Y), ()),
        (torch.tensor(Y), ()),
        (Y + 1, (1, 2, 3)),
        (Y * 5 - 5, (-5, 0, 5)),
        (Y.astype("u8") + 2**62, (2**62, 2**62 + 1, 2**62 + 2)),
        (Y == 1, (False, True)),
        (WORDS[Y], ("b", "c", "dog")),
        (Y.astype(str), ()),
        (np.array(["10", "9", "-8"])[Y], (-8, 9, 10)),
        (np.array(["True", "False"])[Y % 2], (False, True)),
        (WORDS.astype(object)[Y], ("b", "c", "dog")),
        (np.array([b"c", b"b", "dö".encode()])[Y], ("b", "c", "dö")),
    ],
    ids=itertools.count(),
)
def test_classes_are_what_the_data_hold(tmp_path, y, labels):
    found = load_dataset("own", tmp_path, {"own": lambda: {"x": X, "y": y}})
    assert found.labels == labels
    assert [type(label) for label in found.labels] == [type(label) for label in labels]
    assert found.classes == len(labels or range(3))
    label_of = {tuple(x): label for x, label in zip(X.astype(np.float32), np.ravel(y).tolist(), strict=True)}
    for split in found.x:
        for x, index in zip(found.x[split], found.y[split].tolist(), strict=True):
            given = label_of[tuple(x)]
            label = labels[index] if labels else index
            assert label == given or str(label) == (given.decode() if isinstance(given, bytes) else given)


def test_classes_that_keep_their_order_keep_their_splits(tmp_path):
    usual = load_dataset("own", tmp_path, {"own": lambda: (X, Y)})
    for y in (Y + 1, Y * 5 - 5, Y.astype(float), np.array(["a", "b", "c"])[Y]):
        found = load_dataset("own", tmp_path, {"own": lambda y=y: (X, y)})
        assert all(np.array_equal(found.x[split], usual.x[split]) for split in found.x)
        assert all(np.array_equal(found.y[split], usual.y[split]) for split in found.y)


@pytest.mark.parametrize(("y", "word"), [(Y - 1, "whole numbers from 0 up, got -1"), (WORDS[Y], "got text")])
def test_labels_in_a_file_are_whole_numbers_from_zero_up(tmp_path, y, word):
    np.savez(tmp_path / "own.npz", x=X, y=y)
    with pytest.raises(SuiteError, match=word):
        load_dataset("own.npz", tmp_path, {})


DTYPES = arrays.integer_dtypes() | arrays.unsigned_integer_dtypes() | arrays.floating_dtypes() | arrays.boolean_dtypes()
LAYOUTS = {
    "as it is": lambda x: x,
    "fortran": np.asfortranarray,
    "backwards": lambda x: x[::-1, ..., ::-1][::-1, ..., ::-1],
    "every other": lambda x: np.repeat(x, 2, axis=0)[::2],
    "read only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "masked nowhere": np.ma.array,
}


@given(
    DTYPES,
    arrays.array_shapes(min_dims=1, max_dims=3, max_side=3),
    st.sampled_from(sorted(LAYOUTS)),
    st.integers(0, 2**32 - 1),
)
def test_numbers_of_any_dtype_shape_and_layout_are_read_as_they_are(dtype, shape, layout, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 100, (N, *shape)).astype(dtype)
    found = load_dataset("own", Path(), {"own": lambda: (LAYOUTS[layout](x), Y)})
    wanted = load_dataset("own", Path(), {"own": lambda: (x.astype(np.float32), Y)})
    for split in found.x:
        assert found.x[split].dtype == np.float32
        assert found.x[split].flags.carray
        np.testing.assert_array_equal(found.x[split], wanted.x[split])
        np.testing.assert_array_equal(found.y[split], wanted.y[split])
    assert len({example.tobytes() for example in x}) < N or sum(map(found.size, found.x)) == N


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8, torch.bool])
def test_tensors_are_taken_as_arrays(dtype):
    x = torch.tensor(X).round().abs().to(dtype).requires_grad_(dtype.is_floating_point)
    found = load_dataset("own", Path(), {"own": lambda: (x, Y)})
    wanted = load_dataset("own", Path(), {"own": lambda: (x.detach().float().numpy(), Y)})
    np.testing.assert_array_equal(found.x["train"], wanted.x["train"])


PEAK = """
import resource, sys
import numpy as np
from pathlib import Path
from harness.data.datasets import load_dataset
x = np.load(sys.argv[1], mmap_mode="r")
y = np.arange(len(x)) % 3
given = {"x": x, "y": y} if sys.argv[2] == "whole" else dict(x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
dataset = load_dataset("own", Path(), {"own": lambda: given})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, sum(a.nbytes for a in dataset.x.values()) // 1024)
"""


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
@pytest.mark.parametrize("given", ["whole", "parts"])
def test_a_memory_map_takes_the_memory_of_its_pages_and_of_what_is_trained_on(tmp_path, dtype, given):
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", dtype, (40_000, 500))
    x[:] = np.arange(500)[None] % 97
    x.flush()
    ran = subprocess.run(
        [sys.executable, "-c", PEAK, tmp_path / "x.npy", given], capture_output=True, text=True, check=True
    )
    grown, needed = map(int, ran.stdout.split())
    pages = x.nbytes // 1024
    # What is mapped counts as memory, though the system takes it back where it is short.
    assert grown < needed + pages + 40 * 1024


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(SuiteError, match=r"bad\.npz"):
        load_dataset("bad.npz", tmp_path, {})


def test_a_pickle_inside_an_npz_is_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "marker"), "w"))

    np.savez(tmp_path / "bomb.npz", x=np.array([Bomb()], dtype=object), y=Y)
    with pytest.raises(SuiteError, match="plain arrays"):
        load_dataset("bomb.npz", tmp_path, {})
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(("there", "named"), [("photos/", "photos"), ("animals.csv", "animals"), ("x.npz", "x")])
def test_what_lies_beside_the_suite_is_proposed_where_only_its_end_is_missing(tmp_path, there, named):
    (tmp_path / there).mkdir() if there.endswith("/") else (tmp_path / there).touch()
    with pytest.raises(SuiteError, match=f"unknown dataset '{named}'; what lies beside the suite is called '{there}'"):
        load_dataset(named, tmp_path, {}, DataSettings(target_column="kind"))
    with pytest.raises(SuiteError, match="unknown dataset 'other'; choose from"):
        load_dataset("other", tmp_path, {})


def test_only_two_dimensional_data_are_kept_for_the_report(tmp_path):
    save_for_report(load_dataset("circles", tmp_path, {}), tmp_path, standardize=False)
    save_for_report(load_dataset("digits", tmp_path, {}), tmp_path, standardize=False)
    assert [path.name for path in tmp_path.iterdir()] == ["circles.npz"]
    with np.load(tmp_path / "circles.npz") as kept:
        assert len(kept["x_train"]) == 1400


def test_data_are_kept_as_each_trial_sees_them(tmp_path):
    for standardize in (False, True):
        dataset = load_dataset("circles", tmp_path, {}, DataSettings(standardize=standardize))
        save_for_report(dataset, tmp_path, standardize=standardize)
    kept = {path.name: np.load(path)["x_train"] for path in tmp_path.iterdir()}
    assert set(kept) == {"circles.npz", "circles.standardized.npz"}
    assert np.allclose(kept["circles.standardized.npz"].std(axis=0), 1, atol=1e-3)
    assert (kept["circles.npz"].std(axis=0) < 0.9).all()
