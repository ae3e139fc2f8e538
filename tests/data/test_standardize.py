"""Features less their mean over their deviation, of the training examples: the same in training and in prediction."""

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

from harness import Streamed, Suite
from harness.data.datasets import load_dataset
from harness.data.settings import DataSettings
from harness.errors import SuiteError
from harness.export.evaluate import read_examples

STANDARDIZE = DataSettings(standardize=True)
RNG = np.random.default_rng(3)
X = RNG.standard_normal((60, 2, 3)) * [[1, 1e3, 0.1]] + [[[5], [-40]]]
Y = np.arange(60) % 3


def raw():
    x = X.copy()
    x[:, 0, 0] = 7  # a feature with one value
    return x, Y


def suite(**changes) -> Suite:
    return Suite(**{"dataset": "digits", "model": "mlp-4", "lr": 0.1, "batch_size": 8, "steps": 2, **changes})


@pytest.mark.parametrize("name", ["raw", "digits", "circles"])
def test_examples_are_scaled_as_scikit_learn_scales_them(name, tmp_path):
    plain, scaled = (load_dataset(name, tmp_path, {"raw": raw}, settings) for settings in (DataSettings(), STANDARDIZE))
    scaler = StandardScaler().fit(plain.x["train"].reshape(plain.size("train"), -1).astype(np.float64))
    for split, x in scaled.x.items():
        expected = scaler.transform(plain.x[split].reshape(len(x), -1).astype(np.float64))
        np.testing.assert_allclose(x.reshape(len(x), -1), expected, rtol=1e-4, atol=2e-5)
        assert x.dtype == np.float32
        np.testing.assert_array_equal(scaled.y[split], plain.y[split])


def test_digits_are_standardised_unless_a_suite_says_otherwise():
    assert {trial.standardize for trial in suite().trials()} == {True}
    assert {trial.standardize for trial in suite(standardize=False).trials()} == {False}
    assert [trial.standardize for trial in suite(dataset=["circles", "digits"]).trials()] == [False, True]
    arms = [trial.standardize for trial in suite(also=[{"standardize": [False, True]}]).trials()]
    assert arms == [True, False]


def test_a_function_of_the_suite_that_is_called_like_it_is_left_alone():
    def digits():
        return raw()

    assert {trial.standardize for trial in suite(dataset=digits).trials()} == {False}


@pytest.mark.parametrize("name", ["raw", "digits"])
def test_a_model_gets_raw_examples_as_those_of_training_were(name, tmp_path):
    factories = {"raw": raw}
    plain, scaled = (load_dataset(name, tmp_path, factories, settings) for settings in (DataSettings(), STANDARDIZE))
    np.savez(tmp_path / "x.npz", x=plain.x["test"])
    pd.DataFrame(plain.x["test"].reshape(plain.size("test"), -1)).to_csv(tmp_path / "x.csv", header=False, index=False)
    for data in (str(tmp_path / "x.npz"), str(tmp_path / "x.csv"), name):
        labels = list(range(plain.classes))
        examples = read_examples(data, plain.input_shape, labels, factories, encoding=scaled.encoding)
        np.testing.assert_array_equal(examples.x.numpy(), scaled.x["test"])
        unscaled = read_examples(data, plain.input_shape, labels, factories)
        np.testing.assert_array_equal(unscaled.x.numpy(), plain.x["test"])


@pytest.mark.parametrize(
    ("made", "settings", "line"),
    [
        (lambda: {"x": np.arange(60)[:, None] % 5, "y": Y, "vocabulary": 5}, {}, "numbers in memory.* is tokens"),
        (lambda: (Streamed(X.astype(np.float32)), Y), {}, "numbers in memory.* is streamed"),
        (
            lambda: pd.DataFrame({"a": X[:, 0, 0], "b": Y}),
            {"target_column": "b"},
            "'own' is standardised without it; leave it out",
        ),
    ],
    ids=["tokens", "on disk", "a table"],
)
def test_what_can_not_be_standardised_is_refused(made, settings, line, tmp_path):
    load_dataset("own", tmp_path, {"own": made}, DataSettings(**settings))
    with pytest.raises(SuiteError, match=line):
        load_dataset("own", tmp_path, {"own": made}, DataSettings(**settings, standardize=True))
