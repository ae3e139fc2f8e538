"""The data: split once, the same for all, and refused in a line where they can't be used."""

import numpy as np
import pytest
from sklearn.datasets import make_circles
from sklearn.model_selection import train_test_split

from harness.data.datasets import DATASETS, load_dataset, save_for_report
from harness.data.downloads import SOURCES
from harness.errors import SuiteError

N = 53
X = np.random.default_rng(1).standard_normal((N, 4))
Y = np.arange(N) % 3


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in SOURCES])
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
        ({"x": X, "y": Y[:-1]}, "split"),
        ({"x": X, "y": Y + 0.5}, "split|whole numbers"),
        ({"x": X, "y": Y - 1}, "whole numbers"),
        ({"x": np.where(X > 2, np.nan, X), "y": Y}, "NaN"),
        ({"x": X[:, 0], "y": Y}, "got x of shape"),
        ({"x": X[:, :0], "y": Y}, "got x of shape"),
        ({"x": X, "y": np.zeros(N)}, "classes"),
        ({"x": X.astype(str), "y": Y}, None),
        ({"x": np.array([["a"] * 4] * N), "y": Y}, "numbers"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :3], "y_test": Y}, "one shape"),
        (7, "must return"),
    ],
    ids=str,
)
def test_data_that_can_not_be_used_are_refused_in_a_line(tmp_path, made, word):
    if word is None:  # numbers written as text are numbers
        assert load_dataset("own", tmp_path, {"own": lambda: made}).classes == 3
        return
    with pytest.raises(SuiteError) as refusal:
        load_dataset("own", tmp_path, {"own": lambda: made})
    assert any(part in str(refusal.value) for part in word.split("|"))
    assert "\n" not in str(refusal.value)


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


def test_only_two_dimensional_data_are_kept_for_the_report(tmp_path):
    save_for_report(load_dataset("circles", tmp_path, {}), tmp_path)
    save_for_report(load_dataset("digits", tmp_path, {}), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["circles.npz"]
    with np.load(tmp_path / "circles.npz") as kept:
        assert len(kept["x_train"]) == 1400
