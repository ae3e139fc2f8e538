"""Each source of data is the same, to the bit, as the arrays that it stands for given by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

from harness.data.datasets import load_dataset
from harness.data.settings import DataSettings
from harness.errors import SuiteError
from harness.spec.own_code.data_files import data_digest

N = 40
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 3)).astype(np.float32)
Y = np.arange(N) % 3
PIXELS = RNG.integers(0, 256, (N, 5, 4, 3), dtype=np.uint8)
CLASSES = np.array(["cat", "dog", "owl"])[Y]
TABLE = pd.DataFrame(
    {
        "size": X[:, 0].astype(float) * 100 + 7,
        "colour": np.array(["red", "blue", "green", "blue"] * 10),
        "is_old": Y > 1,
        "count": np.arange(N),
        "same": 4.5,
        "kind": CLASSES,
    }
)


def load(made, **settings):
    name, folder = (made, Path()) if isinstance(made, str) else ("own", Path())
    return load_dataset(name, folder, {} if isinstance(made, str) else {"own": lambda: made}, DataSettings(**settings))


def assert_same(one, other):
    assert (one.classes, one.labels) == (other.classes, other.labels)
    for split in ("train", "val", "test"):
        assert one.x[split].dtype == other.x[split].dtype
        assert np.array_equal(one.x[split], other.x[split])
        assert np.array_equal(one.y[split], other.y[split])


class Items(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        item = self.items[i]
        return item() if callable(item) else item


TENSORS = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
SPLIT = {"x_train": X[:30], "y_train": Y[:30], "x_test": X[30:], "y_test": Y[30:]}


@pytest.mark.parametrize(
    ("made", "arrays"),
    [
        (TENSORS, (X, Y)),
        (Subset(TENSORS, range(30)), (X[:30], Y[:30])),
        (ConcatDataset([TENSORS, TENSORS]), (np.tile(X, (2, 1)), np.tile(Y, 2))),
        (Items([(x.tolist(), name) for x, name in zip(X, CLASSES, strict=True)]), (X, CLASSES)),
        (Items([(pixels, int(y)) for pixels, y in zip(PIXELS, Y, strict=True)]), (PIXELS, Y)),
        ({"train": Subset(TENSORS, range(30)), "test": Subset(TENSORS, range(30, N))}, SPLIT),
        ((Subset(TENSORS, range(30)), Subset(TENSORS, range(30, N))), SPLIT),
        ({"train": (X[:30], Y[:30]), "test": (X[30:], Y[30:])}, SPLIT),
    ],
)
def test_a_torch_dataset_is_its_items(made, arrays):
    assert_same(load(made), load(arrays))


class Stream(IterableDataset):
    def __iter__(self):
        yield from TENSORS


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (Stream(), "Stream has no length or no order; give a Dataset with __len__"),
        (Items([]), "Items is empty"),
        (Items([X[0]] * 4), "must be pairs .* got a ndarray at item 0"),
        (Items([(X[0], 1, 2)] * 4), "must be pairs .* got 3 parts"),
        (Items([(X[0], 1), (X[0][:2], 1)]), r"item 1 has the shape \(2,\) and item 0 \(3,\)"),
        (Items([(X[0], 1), (X[0], [1, 2])]), r"target of item 1 has the shape \(2,\)"),
        (Items([(Image.new("L", (4, 4)), 1)] * 4), "item 0 is a picture of PIL; give a transform"),
        (Items([lambda: (np.random.random(3), 0)] * 9), "item 0 is not the same when it is read again"),  # noqa: NPY002
        ({"train": TENSORS, "test": X}, "'test' must be .* got ndarray"),
        (3, "must return .* a torch Dataset or a pandas DataFrame, got int"),
    ],
)
def test_what_is_no_map_of_examples_is_refused(made, words):
    with pytest.raises(SuiteError, match=words):
        load(made)


def by_hand(table):
    """The arrays of TABLE as pandas makes them, and its number columns scaled by scikit-learn's formula."""
    dummies = pd.get_dummies(table["colour"]).to_numpy(float)
    numbers = table[["size", "count", "same"]].to_numpy(float)
    x = np.column_stack([numbers[:, :1], dummies, table["is_old"], numbers[:, 1:]])
    dataset = load((x, table["kind"].to_numpy(str)))
    is_number = np.array([True, False, False, False, False, True, True])
    train = dataset.x["train"].astype(float)
    mean, std = np.where(is_number, train.mean(0), 0), np.where(is_number & (train.std(0) > 0), train.std(0), 1)
    return dataset, {split: (x - mean) / std for split, x in dataset.x.items()}


@pytest.mark.parametrize("source", ["function", "csv", "parquet", "categories"])
def test_a_table_is_its_columns_encoded_and_scaled_by_its_training_examples(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    TABLE.to_csv("t.csv", index=False)
    TABLE.to_parquet("t.parquet")
    categories = TABLE.astype({"colour": "category", "kind": "category", "count": "Int64"})
    made = {"function": TABLE, "csv": "t.csv", "parquet": "t.parquet", "categories": categories}[source]
    table, (raw, expected) = load(made, target_column="kind"), by_hand(TABLE)
    assert table.labels == ("cat", "dog", "owl")
    for split, x in expected.items():
        np.testing.assert_allclose(table.x[split], x, rtol=1e-5, atol=1e-6)
        assert np.array_equal(table.x[split][:, 1:5], raw.x[split][:, 1:5])
        assert np.array_equal(table.y[split], raw.y[split])
    if source != "csv":  # which rounds what it writes
        assert_same(table, load(TABLE, target_column="kind"))


def test_tables_of_splits_share_their_categories():
    parts = {"train": TABLE[TABLE["colour"] != "green"], "test": TABLE[20:]}
    table = load(parts, target_column="kind")
    assert table.input_shape == (7,)
    assert table.size("test") == 20
    assert not table.x["train"][:, 2].any()
    assert table.x["test"][:, 2].sum() == 5


@pytest.mark.parametrize(
    ("table", "target", "words"),
    [
        (TABLE, "", "target_column must be the column to predict, got ''; the table has: size, colour"),
        (TABLE, "Kind", "got 'Kind'"),
        (TABLE.assign(size=[None, 1.0] * 20), "kind", r"missing in 'size' \(20 of 40 rows\); fill them"),
        (TABLE.assign(kind=[None, "a"] * 20), "kind", r"missing in 'kind' \(20 of 40 rows\)"),
        (TABLE.assign(size=pd.Timestamp("2020-01-01")), "kind", "column 'size' holds dates"),
        (TABLE.assign(size=[3, "a"] * 20), "kind", "column 'size' holds a int"),
        (TABLE[["kind"]], "kind", "no column besides 'kind'"),
        (pd.concat([TABLE, TABLE[["size"]]], axis=1), "kind", "two columns are called 'size'"),
        ({"train": TABLE, "test": TABLE[["kind", "size"]]}, "kind", "must have the same columns, and test has others"),
        (X, "kind", "target_column='kind' is of tables"),
        ("digits", "kind", "target_column='kind' is of tables, and dataset 'digits' is none"),
    ],
)
def test_a_table_that_can_not_be_learnt_from_is_refused(table, target, words):
    with pytest.raises(SuiteError, match=words):
        load(table, target_column=target)


def test_a_column_of_names_and_a_file_without_a_table_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = pd.DataFrame({"id": [f"id{i}" for i in range(1001)], "y": [0, 1, 2] * 333 + [0, 1]})
    with pytest.raises(SuiteError, match="column 'id' holds 1001 different texts"):
        load(names, target_column="y")
    TABLE.to_csv("index.csv")
    Path("no.parquet").write_bytes(b"nothing")
    with pytest.raises(SuiteError, match=r"without a name .*index=False"):
        load("index.csv", target_column="kind")
    with pytest.raises(SuiteError, match=r"no.parquet can't be read as a table"):
        load("no.parquet", target_column="kind")


def write_images(folder, pixels, labels, suffix=".png"):
    for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / label / f"{i:03}{suffix}")


@pytest.mark.parametrize("is_grey", [False, True])
def test_a_folder_of_images_is_its_pixels_from_0_to_1(tmp_path, monkeypatch, is_grey):
    monkeypatch.chdir(tmp_path)
    pixels = PIXELS[..., 0] if is_grey else PIXELS
    write_images(tmp_path / "photos", pixels, CLASSES)
    (tmp_path / "photos" / ".DS_Store").touch()
    order = np.argsort(CLASSES, kind="stable")
    scaled = (pixels[:, None] if is_grey else pixels.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)
    assert_same(load("photos/"), load((scaled[order], CLASSES[order])))


def test_a_folder_of_splits_has_their_images_and_its_digest_is_of_names_and_contents(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "photos" / "train", PIXELS[:30], CLASSES[:30], ".PNG")
    write_images(tmp_path / "photos" / "test", PIXELS[30:], CLASSES[30:])
    photos = load("photos/")
    assert (photos.size("train") + photos.size("val"), photos.size("test")) == (30, 10)
    digests = [data_digest(tmp_path, "photos/")]
    (tmp_path / "photos" / "test" / "cat" / "000.png").rename(tmp_path / "photos" / "test" / "cat" / "900.png")
    digests.append(data_digest(tmp_path, "photos/"))
    Image.new("RGB", (4, 5)).save(tmp_path / "photos" / "test" / "cat" / "900.png")
    digests.append(data_digest(tmp_path, "photos/"))
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda photos: Image.new("RGB", (4, 6)).save(photos / "dog" / "a.png"),
            "dog/a.png has 4 x 6 pixels and .* 4 x 5",
        ),
        (lambda photos: (photos / "dog" / "a.gif").touch(), "dog/a.gif is no PNG or JPEG"),
        (lambda photos: (photos / "dog" / "a.png").write_bytes(b"\x89PNG"), "dog/a.png can't be read as an image"),
        (lambda photos: Image.new("I;16", (4, 5)).save(photos / "dog" / "a.png"), "dog/a.png has more than 8 bits"),
    ],
)
def test_a_folder_with_something_else_in_it_is_refused_by_the_name_of_the_file(tmp_path, monkeypatch, spoil, words):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "photos", PIXELS, CLASSES)
    spoil(tmp_path / "photos")
    with pytest.raises(SuiteError, match=words):
        load("photos/")


def test_a_folder_without_images_is_refused_and_one_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(SuiteError, match="no images in photos/"):
        load("photos/")
    with pytest.raises(SuiteError, match="no folder"):
        data_digest(tmp_path, "none/")
