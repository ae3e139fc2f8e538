"""Raw data become, for a trained model, the arrays that the same data were in training."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness.data.datasets import load_dataset
from harness.data.encodings import is_encoding, read_raw
from harness.data.settings import DataSettings
from harness.data.sources.image_folders import image_arrays
from harness.errors import SuiteError

RNG = np.random.default_rng(0)
N, CONTEXT = 50, 4
TABLE = pd.DataFrame(
    {
        "size": RNG.normal(50, 10, N),
        "colour": np.array(["red", "blue", "green", "blue", "red"] * 10),
        "is_old": RNG.random(N) < 0.5,
        "same": 4.5,
        "kind": np.array(["cat", "dog"] * 25),
    }
)
TEXT = "to be or not to be, that is the question. " * 10


@pytest.fixture
def table(tmp_path):
    TABLE.to_csv(tmp_path / "pets.csv", index=False)
    return load_dataset("pets.csv", tmp_path, {}, DataSettings(target_column="kind"))


@pytest.fixture
def text(tmp_path):
    (tmp_path / "hamlet.txt").write_text(TEXT)
    return load_dataset("hamlet.txt", tmp_path, {}, DataSettings(task="sequence", context=CONTEXT))


def as_read_from_a_file(encoding):
    return json.loads(json.dumps(encoding, sort_keys=True))


def test_a_table_becomes_the_very_numbers_that_it_was_in_training(tmp_path, table):
    x, y = read_raw(tmp_path / "pets.csv", as_read_from_a_file(table.encoding), table.input_shape)
    assert x.dtype == np.float32
    assert y.tolist() == TABLE["kind"].tolist()
    trained = np.concatenate([table.x[split] for split in table.x])
    assert np.array_equal(np.unique(x, axis=0), np.unique(trained, axis=0))


@pytest.mark.parametrize("change", ["fewer categories", "another order of columns", "no targets"])
def test_rows_of_a_table_are_what_they_are_among_all_others(tmp_path, table, change):
    whole, _ = read_raw(tmp_path / "pets.csv", table.encoding, table.input_shape)
    chosen = (TABLE["colour"] == "blue").to_numpy()
    part = TABLE[chosen]
    part = {"fewer categories": part, "another order of columns": part.iloc[:, ::-1]}.get(
        change, part.drop(columns="kind")
    )
    part.to_csv(tmp_path / "part.csv", index=False)
    x, y = read_raw(tmp_path / "part.csv", table.encoding, table.input_shape)
    assert np.array_equal(x, whole[chosen])
    assert (y is None) == (change == "no targets")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "mauve"}, "column 'colour' holds 'mauve', which no example has that the model was trained on"),
        ({"size": "large"}, "column 'size' holds text, such as 'large', and must hold numbers"),
        ({"size": np.nan}, r"values are missing in 'size' \(50 of 50 rows\)"),
        (None, "has no column 'size', which the model was trained on"),
    ],
)
def test_a_table_that_training_would_not_have_made_so_is_refused_in_a_line(tmp_path, table, change, message):
    other = TABLE.drop(columns="size") if change is None else TABLE.assign(**change)
    other.to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(SuiteError, match=message):
        read_raw(tmp_path / "other.csv", table.encoding, table.input_shape)


def test_a_text_becomes_windows_of_the_tokens_of_training(tmp_path, text):
    (tmp_path / "short.txt").write_text("that is not")
    x, y = read_raw(tmp_path / "short.txt", as_read_from_a_file(text.encoding), text.input_shape)
    tokens = [sorted(set(TEXT)).index(character) for character in "that is not"]
    assert x.ravel().tolist() == tokens[: 2 * CONTEXT]
    assert y.ravel().tolist() == tokens[1 : 2 * CONTEXT + 1]
    for unfit, message in {"that is Zen": "holds 'Z'", "to": "must be longer than the 4 characters"}.items():
        (tmp_path / "unfit.txt").write_text(unfit)
        with pytest.raises(SuiteError, match=message):
            read_raw(tmp_path / "unfit.txt", text.encoding, text.input_shape)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_of_images_becomes_the_pixels_of_training_with_or_without_classes(tmp_path, channels):
    for place in ("new/cat", "new/dog", "flat"):
        (tmp_path / place).mkdir(parents=True)
    pixels = RNG.integers(0, 256, (4, 6, 5) if channels == 1 else (4, 6, 5, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        for place in (f"new/{'cat' if i < 2 else 'dog'}", "flat"):
            Image.fromarray(image).save(tmp_path / place / f"{i}.png")
    expected = image_arrays("new", tmp_path / "new")
    x, y = read_raw(tmp_path / "new", None, (channels, 6, 5))
    assert np.array_equal(x, expected["x"])
    assert y.tolist() == expected["y"].tolist()
    x, y = read_raw(tmp_path / "flat", None, (channels, 6, 5))
    assert np.array_equal(x, expected["x"])
    assert y is None


def test_an_encoding_that_a_stranger_wrote_is_told_from_ours(table, text):
    assert is_encoding(as_read_from_a_file(table.encoding))
    assert is_encoding(as_read_from_a_file(text.encoding))
    encoding = table.encoding
    for broken in (
        [],
        {"characters": 3},
        {**encoding, "mean": encoding["mean"][1:]},
        {**encoding, "texts": [None]},
        {**encoding, "std": ["1"] * len(encoding["std"])},
        {name: value for name, value in encoding.items() if name != "target"},
    ):
        assert not is_encoding(broken)
