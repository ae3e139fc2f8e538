"""Splits are those of scikit-learn, bit for bit, errors included; scikit-learn itself is not loaded for them."""

import subprocess
import sys

import numpy as np
import pytest
import sklearn.model_selection
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits, make_circles

from harness.data.sources.bundled import DATASETS, _two_circles
from harness.data.splits import shuffled_indices, train_test_indices


def outcome(split, *arguments, **options):
    """The parts, or what the error says."""
    try:
        return [np.asarray(part).tolist() for part in split(*arguments, **options)]
    except ValueError as error:
        return str(error)


@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=90),
    share=st.sampled_from([0.05, 0.15, 0.15 / 0.7, 0.3, 0.5]),
    seed=st.integers(0, 50),
    kind=st.sampled_from([int, float, str, np.uint8]),
)
def test_a_split_is_that_of_scikit_learn(labels, share, seed, kind):
    rows, y = np.arange(len(labels)), np.array(labels).astype(kind)
    wanted = outcome(sklearn.model_selection.train_test_split, rows, test_size=share, random_state=seed, stratify=y)
    assert outcome(train_test_indices, y, share, seed) == wanted


@pytest.mark.parametrize("y", [np.zeros(0), np.full(5, np.nan), np.array(["a", "b", "a", "b"]), np.array([0, 0, 1])])
def test_labels_that_are_no_whole_numbers_or_too_few_are_left_to_scikit_learn(y):
    rows = np.arange(len(y))
    wanted = outcome(sklearn.model_selection.train_test_split, rows, test_size=0.5, random_state=3, stratify=y)
    assert outcome(train_test_indices, y, 0.5, 3) == wanted


@given(examples=st.integers(2, 90), seed=st.integers(0, 50))
def test_a_shuffled_split_is_that_of_scikit_learn(examples, seed):
    wanted = sklearn.model_selection.train_test_split(np.arange(examples), test_size=0.3, random_state=seed)
    assert [part.tolist() for part in shuffled_indices(examples, 0.3, seed)] == [part.tolist() for part in wanted]


def test_circles_and_digits_are_those_of_scikit_learn():
    x, y = make_circles(600, noise=0.1, factor=0.4, random_state=43)
    for found, wanted in zip(_two_circles(600, seed=43), (x, y), strict=True):
        np.testing.assert_array_equal(found, wanted)
    digits, wanted = DATASETS["digits"](), load_digits()
    np.testing.assert_array_equal(digits["x"], wanted.images[:, None] / 16)
    np.testing.assert_array_equal(digits["y"], wanted.target)


LOADING = """
import sys
from pathlib import Path
from harness.data.datasets import load_dataset
from harness.execution import worker
for name in ("circles", "digits"):
    load_dataset(name, Path(), {})
print(sorted({"sklearn", "scipy", "pandas"} & set(sys.modules)))
"""


def test_a_worker_with_its_data_loads_neither_scikit_learn_nor_scipy_nor_pandas():
    ran = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
