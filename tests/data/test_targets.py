"""Targets of every task: what is read, what is split how, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, make_multilabel_classification
from sklearn.model_selection import train_test_split

from harness.data.datasets import load_dataset
from harness.data.settings import DataSettings
from harness.errors import SuiteError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))


def load(task, y, x=X, **more):
    arrays = {"x": x, "y": y, **more} if not isinstance(y, dict) else y
    return load_dataset("own", Path(), {"own": lambda: arrays}, DataSettings(task=task))


@pytest.mark.parametrize(
    ("task", "y", "outputs", "shape"),
    [
        ("regression", RNG.normal(size=40), 1, (1,)),
        ("regression", RNG.normal(size=(40, 2)), 2, (2,)),
        ("regression", np.arange(40), 1, (1,)),
        ("multilabel", RNG.integers(0, 2, (40, 3)), 3, (3,)),
        ("multilabel", RNG.integers(0, 2, (40, 3)).astype(bool), 3, (3,)),
        ("sequence", RNG.integers(5, 9, (40, 6)), 4, (6,)),
        ("sequence", RNG.choice(["a", "b"], (40, 6)), 2, (6,)),
    ],
)
def test_targets_are_as_given_and_split_as_scikit_learn_splits_without_classes(task, y, outputs, shape):
    data = load(task, y)
    rest, test = train_test_split(np.arange(40), test_size=0.3, random_state=42)
    train, val = train_test_split(rest, test_size=0.15 / 0.7, random_state=42)
    given = y.reshape(40, -1)
    if task == "sequence":
        given = np.unique(given, return_inverse=True)[1].reshape(40, -1)
        assert data.labels == tuple(np.unique(y).tolist())
    for split, rows in (("train", train), ("val", val), ("test", test)):
        np.testing.assert_array_equal(data.y[split], given[rows].astype(data.y[split].dtype))
        np.testing.assert_array_equal(data.x[split], X[rows].astype(np.float32))
    assert (data.outputs, data.y["train"].shape[1:], data.task) == (outputs, shape, task)
    assert data.y["train"].dtype == (np.int64 if task == "sequence" else np.float32)
    assert data.classes == (outputs if task == "sequence" else 0)


@pytest.mark.parametrize(
    ("task", "y", "says"),
    [
        ("regression", np.array(["a", "b"] * 20), "text"),
        ("regression", np.full(40, np.nan), "NaN"),
        ("regression", RNG.normal(size=(40, 2, 2)), "a number, or several, for each example"),
        ("regression", RNG.normal(size=39), "needs a target for each"),
        ("multilabel", RNG.integers(0, 2, 40), "the task is 'classification'"),
        ("multilabel", np.full((40, 2), 2), r"must be 0 or 1 for each label, got 2 at \[0, 0\]"),
        ("sequence", RNG.integers(0, 3, 40), "a label for each position"),
        ("classification", RNG.normal(size=40), "numbers are of task='regression'"),
        ("classification", RNG.integers(0, 2, (40, 3)), "several labels are of task='multilabel'"),
    ],
)
def test_other_targets_are_refused(task, y, says):
    with pytest.raises(SuiteError, match=says):
        load(task, y)


def test_splits_must_have_as_many_targets_each_and_too_few_examples_are_not_split():
    arrays = {"x_train": X, "x_test": X, "y_train": np.zeros((40, 2)), "y_test": np.zeros((40, 3))}
    with pytest.raises(SuiteError, match="as many targets in all splits"):
        load("regression", arrays)
    with pytest.raises(SuiteError, match="it has 5 examples, and needs 6"):
        load("regression", np.zeros(5), X[:5])


def test_topics_are_scikit_learns_with_several_labels():
    data = load_dataset("topics", Path(), {}, DataSettings(task="multilabel"))
    x, y = make_multilabel_classification(2000, n_features=20, n_classes=5, n_labels=2, random_state=42)
    expected = np.concatenate([((x - x.mean(0)) / x.std(0)).astype(np.float32), y], 1)
    rows = np.concatenate([np.concatenate([data.x[split], data.y[split]], 1) for split in data.x])
    assert np.array_equal(np.sort(rows, 0), np.sort(expected, 0))


def test_diabetes_is_scikit_learns():
    data = load_dataset("diabetes", Path(), {}, DataSettings(task="regression"))
    x, y = load_diabetes(return_X_y=True)
    ours = np.concatenate([np.c_[data.x[split], data.y[split]] for split in ("train", "val", "test")])
    theirs = np.c_[x / x.std(0), (y - y.mean()) / y.std()]
    np.testing.assert_allclose(np.sort(ours, 0), np.sort(theirs, 0), atol=1e-4)
