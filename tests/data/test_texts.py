"""Texts are split in time and cut into windows of characters, each with the characters that follow."""

from pathlib import Path

import numpy as np
import pytest

from harness.data.datasets import load_dataset
from harness.data.settings import DataSettings
from harness.errors import SuiteError

TEXT = "".join(np.random.default_rng(0).choice(list("abcde\n"), 500)) + "ünique"
CONTEXT = 7


def load(folder, text=TEXT, context=CONTEXT):
    (folder / "notes.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_dataset("notes.txt", folder, {}, DataSettings(context=context))


def test_windows_of_the_parts_of_a_text_give_the_text_back_and_targets_are_what_follows(tmp_path):
    dataset, characters = load(tmp_path), sorted(set(TEXT))
    assert dataset.vocabulary == dataset.classes == len(characters)
    assert dataset.next_token
    borders = [0, round(0.7 * len(TEXT)), round(0.85 * len(TEXT)), len(TEXT)]
    for split, start, stop in zip(("train", "val", "test"), borders, borders[1:], strict=False):
        part, (x, y) = TEXT[start:stop], (dataset.x[split], dataset.y[split])
        count = (len(part) - 1) // CONTEXT
        assert x.shape == y.shape == (count, CONTEXT)
        assert x.dtype == y.dtype == np.int64
        assert "".join(characters[token] for token in x.ravel()) == part[: count * CONTEXT]
        assert "".join(characters[token] for token in y.ravel()) == part[1 : count * CONTEXT + 1]


@pytest.mark.parametrize(
    ("text", "context", "words"),
    [
        (b"caf\xe9" * 100, 7, "no text in UTF-8 .* at byte 3"),
        ("short", 7, "5 characters is too short for context=7"),
        (TEXT, 40, "its val part of 76 has no 2 windows"),
        ("a" * 500, 7, "vocabulary must be"),
    ],
)
def test_a_text_that_gives_no_windows_is_refused(tmp_path, text, context, words):
    with pytest.raises(SuiteError, match=words):
        load(tmp_path, text, context)


def test_a_context_is_of_texts_alone():
    with pytest.raises(SuiteError, match="context=7 is of texts, and dataset 'digits' is none"):
        load_dataset("digits", Path(), {}, DataSettings(context=7))


def test_the_text_that_is_shipped_is_english():
    dataset = load_dataset("descriptions", Path(), {})
    assert dataset.input_shape == (64,)
    assert dataset.size("train") > 400
    assert 60 < dataset.vocabulary < 200
