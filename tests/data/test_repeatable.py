"""A dataset of a suite's own is the same each time that it is made, or refused; what its labels become is told."""

import itertools

import numpy as np
import pytest

from harness.data.repeatable import label_notes, load_twice
from harness.errors import SuiteError

Y = np.arange(30) % 3
X = np.random.default_rng(0).normal(size=(30, 2))


@pytest.mark.parametrize("changes", ["examples", "labels", "shape"])
def test_data_that_change_are_refused(tmp_path, changes):
    count = itertools.count()

    def own():
        number = next(count)
        x = X + number if changes == "examples" else X.reshape(30, 1 + number, -1) if changes == "shape" else X
        return x, Y + number if changes == "labels" else Y

    with pytest.raises(SuiteError, match="is not deterministic"):
        load_twice("own", tmp_path, {"own": own})
    assert next(count) == 2


def test_data_that_stay_are_loaded_and_only_labels_that_are_no_classes_are_told(tmp_path):
    plain, from_one = (load_twice("own", tmp_path, {"own": lambda y=y: (X, y)}) for y in (Y, Y + 1))
    assert plain.size("train") + plain.size("val") + plain.size("test") == 30
    (note,) = label_notes([plain, from_one])
    assert note.startswith("dataset 'own': the labels 1, 2, 3 are learnt as classes 0 to 2;")
