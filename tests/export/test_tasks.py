"""Predictions and metrics of trained models of each task."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from harness.errors import ModelError, UsageError
from harness.export.evaluate import confusion, measured, scores, targets_for
from harness.export.model_card import known_objective
from harness.export.predictions import predictions
from harness.spec.trial import Trial
from harness.tasks.objective import Objective

RNG = torch.Generator().manual_seed(0)
OUT = torch.randn(7, 3, generator=RNG)
Y = torch.randn(7, 3, generator=RNG)


def test_metrics_are_those_of_scikit_learn():
    found = measured(Objective("regression"), OUT, Y)
    assert found["r2"] == pytest.approx(sk.r2_score(Y, OUT))
    assert found["loss"] == pytest.approx(sk.mean_squared_error(Y, OUT))
    labels = (Y > 0).float()
    assert measured(Objective("multilabel"), OUT, labels)["exact_match"] == sk.accuracy_score(labels, OUT > 0)
    out, y = torch.randn(4, 5, 3, generator=RNG), torch.randint(0, 3, (4, 5), generator=RNG)
    assert measured(Objective("sequence"), out, y)["accuracy"] == sk.accuracy_score(
        y.flatten(), out.argmax(2).flatten()
    )


def test_tables_have_a_row_for_each_example_or_position():
    numbers = predictions("regression", OUT, Y, range(3))
    assert list(numbers.columns) == ["example", *(f"{w}_{k}" for k in range(3) for w in ("prediction", "target"))]
    np.testing.assert_array_equal(numbers["prediction_1"], OUT[:, 1])
    assert list(predictions("regression", OUT[:, :1], None, range(1)).columns) == ["example", "prediction"]
    several = predictions("multilabel", OUT, (Y > 0).float(), range(3))
    np.testing.assert_array_equal(several["prediction_2"], OUT[:, 2] > 0)
    np.testing.assert_allclose(several["probability_2"], OUT[:, 2].double().sigmoid())
    out, y = torch.randn(4, 5, 3, generator=RNG), torch.randint(0, 3, (4, 5), generator=RNG)
    sequence = predictions("sequence", out, y, ["a", "b", "c"])
    assert sequence[["example", "position"]].to_numpy().tolist() == [[n, i] for n in range(4) for i in range(5)]
    np.testing.assert_array_equal(sequence["prediction"], np.array(["a", "b", "c"])[out.argmax(2).flatten()])
    np.testing.assert_array_equal(sequence["label"], np.array(["a", "b", "c"])[y.flatten()])


def test_targets_of_another_shape_are_refused():
    assert targets_for("d", np.array([["b", "a"]]), 1, ["a", "b"], "sequence").tolist() == [[1, 0]]
    with pytest.raises(UsageError, match="needs targets for each of 7"):
        targets_for("d", np.zeros((6, 3)), 7, range(3), "regression")
    with pytest.raises(UsageError, match="needs targets for each of 7"):
        targets_for("d", np.zeros((7, 2)), 7, range(3), "regression")
    with pytest.raises(ModelError, match="must give scores of shape"):
        scores(torch.nn.Linear(3, 2), OUT, 3)
    assert scores(torch.nn.Linear(3, 2), torch.zeros(4, 5, 3), 2, per_position=True).shape == (4, 5, 2)


def test_a_loss_and_metrics_of_a_suites_own_are_reported_where_they_are_known():
    functions = {"l1": lambda out, y: (out - y).abs().mean(1), "worst": lambda out, y: (out - y).abs().max()}
    trial = Trial(
        dataset="own", model="mlp-2", task="regression", loss="l1", metrics="worst", lr=0.1, batch_size=2, steps=1
    )
    found = measured(known_objective(trial, functions), OUT, Y)
    assert found["loss"] == pytest.approx((OUT - Y).abs().mean().item())
    assert found["worst"] == pytest.approx((OUT - Y).abs().max().item())
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(Y, OUT))
    unknown = measured(known_objective(trial, {}), OUT, Y)
    assert "worst" not in unknown
    assert unknown["loss"] == pytest.approx(sk.mean_squared_error(Y, OUT))


def test_labels_of_positions_that_do_not_count_are_left_out_of_what_is_measured():
    out, y = OUT.view(1, 7, 3), torch.tensor([[5, 7, 9, 7, -100, 5, -100]]).numpy()
    targets = targets_for("data", y, 1, [5, 7, 9], "sequence")
    assert targets.tolist() == [[0, 1, 2, 1, -100, 0, -100]]
    table = predictions("sequence", out, targets, [5, 7, 9])
    assert table["label"].tolist()[:4] == [5, 7, 9, 7]
    assert table["label"].isna().tolist() == [False] * 4 + [True, False, True]
    assert confusion(out[0], targets[0]).sum() == 5
    real = targets[0] != -100
    assert measured(Objective("sequence"), out, targets)["accuracy"] == sk.accuracy_score(
        targets[0][real], out[0].argmax(1)[real]
    )
