"""Labels of any kind, from the data of a suite to what its models predict."""

import json

import numpy as np
import pandas as pd
import pytest

SUITE = '''"""Are classes what the data hold?"""

import numpy as np

from harness import Claim, Suite

Y = np.arange(120) % 3
X = np.random.default_rng(0).normal(size=(120, 4)) + 3 * Y[:, None]


def from_one():
    return X, Y + 1


def names():
    return X, np.array(["cat", "dog", "eel"])[Y]


suite = Suite(
    dataset=[from_one, names], model="mlp-8", norm=["none", "batch"], lr=0.1, batch_size=30, seed=range(2), steps=30,
    save_models=True, claims=[Claim.better("batch", than="none")],
)
'''


def test_labels_are_told_learnt_as_classes_and_predicted_as_labels(harness):
    harness.suite(SUITE, "labels")
    ran = harness("run", "labels", "--progress", "plain", "--executor", "in-process")
    assert ran.code == 0
    assert "dataset 'from_one': the labels 1, 2, 3 are learnt as classes 0 to 2; predictions come back as l" in ran.err
    assert "dataset 'names': the labels cat, dog, eel are learnt as classes 0 to 2" in ran.err
    trials = pd.read_csv(harness.results / "labels" / "trials.csv")
    assert set(trials["classes"]) == {3}
    assert not trials["status"].isin(["nonfinite", "no_better_than_init"]).any()
    for name, labels in (("from_one", [1, 2, 3]), ("names", ["cat", "dog", "eel"])):
        key = trials["key"][trials["dataset"] == name].iloc[0]
        record = json.loads((harness.results / "labels" / "records" / f"{key}.json").read_text())
        assert record["facts"]["labels"] == labels
        rows = [{"label": label, **{f"x{i}": 3.0 * place for i in range(4)}} for place, label in enumerate(labels)]
        pd.DataFrame(rows).to_csv(harness.folder / f"{name}.csv", index=False)
        assert harness("export", key, "-o", f"{name}.pth").code == 0
        ran = harness("predict", f"{name}.pth", f"{name}.csv", "-o", f"{name}.out.csv")
        assert (ran.code, ran.err) == (0, "")
        assert all(str(label) in ran.out for label in labels)
        predicted = pd.read_csv(harness.folder / f"{name}.out.csv")
        assert predicted["label"].tolist() == labels
        assert predicted["prediction"].isin(labels).all()
        assert predicted["prediction"].iloc[[0, -1]].tolist() == [labels[0], labels[-1]]
        pd.DataFrame([*rows, {**rows[0], "label": 7}]).to_csv(harness.folder / "wrong.csv", index=False)
        ran = harness("predict", f"{name}.pth", "wrong.csv")
        assert ran.code == 2
        assert f"is none of the model's: {', '.join(map(str, labels))}" in ran.err
        ran = harness("evaluate", f"{name}.pth", "--suite", "labels.py", "--batch-size", "10")
        assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize("labels", [np.arange(120) % 3 - 1, np.array(["a", "b"])[np.arange(120) % 2]])
def test_a_file_with_labels_that_may_be_a_mistake_is_refused(harness, labels):
    np.savez(harness.folder / "own.npz", x=np.zeros((120, 4)), y=labels)
    harness.suite(SUITE.replace("[from_one, names]", '"own.npz"'), "labels")
    ran = harness("run", "labels")
    assert ran.code == 2
    assert "labels in a file must be whole numbers" in ran.err
