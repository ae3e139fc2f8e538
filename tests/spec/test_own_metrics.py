"""Metrics and losses that a suite brings itself: their names in trials, and what is known of them."""

import functools
import sys
from types import ModuleType

import pytest
from sklearn import metrics as sklearn_metrics

from harness import Metric, Suite
from harness.errors import SuiteError
from harness.spec.suite import own_names
from tests.support.strategies import a_trial


def relative_error(outputs, targets):
    return ((outputs - targets).abs() / targets.abs()).mean()


def huber(outputs, targets):
    return (outputs - targets).abs().mean(1)


ONE = {"dataset": "digits", "model": "mlp-8", "lr": 0.1, "batch_size": 8, "steps": 2}


def a_suite(**given):
    return Suite(**{**ONE, "task": "regression", **given})


def test_own_metrics_stand_in_trials_by_name_and_their_specs_in_the_suite():
    suite = a_suite(
        metrics={"relative error": Metric(relative_error, unit="%", higher_is_better=False, low=0)},
        loss=["", huber],
    )
    one, other = suite.trials()
    assert one.metrics == other.metrics == "relative error"
    assert [one.loss, other.loss] == ["", "huber"]
    spec = suite.metrics["relative error"]
    assert (spec.unit, spec.higher_is_better, spec.low, spec.words) == ("%", False, 0.0, "relative error")
    assert suite.functions == {"relative error": relative_error, "huber": huber}
    assert own_names(other.content) >= {"relative error", "huber"}


def test_metrics_of_the_task_may_be_named_and_add_nothing():
    assert [*a_suite(metrics=["mae", "rmse"]).trials()] == [*a_suite().trials()]
    assert "metrics" not in next(a_suite(metrics="mae").trials()).content


def test_functions_of_scikit_learn_know_their_direction():
    fbeta = functools.partial(sklearn_metrics.fbeta_score, beta=2, average="macro")
    given = [sklearn_metrics.median_absolute_error, sklearn_metrics.r2_score]
    assert a_suite(metrics=[sklearn_metrics.matthews_corrcoef]).metrics["matthews_corrcoef"].higher_is_better
    assert {n: s.higher_is_better for n, s in a_suite(metrics=given).metrics.items()} == {
        "median_absolute_error": False,
        "r2_score": True,
    }
    assert a_suite(metrics={"F2": fbeta}).metrics["F2"].higher_is_better
    assert next(a_suite(metrics=given).trials()).metrics == "median_absolute_error+r2_score"


def test_functions_of_torchmetrics_have_the_direction_of_their_classes(monkeypatch):
    """The package is no dependency: modules of its form stand in for it."""
    functions, classes = (
        ModuleType("torchmetrics.functional.regression.mape"),
        ModuleType("torchmetrics.regression.mape"),
    )
    exec("def absolute_percentage(preds, target): ...\ndef unknown(preds, target): ...", vars(functions))
    classes.AbsolutePercentage = type("AbsolutePercentage", (), {"higher_is_better": False})
    classes.Unknown = type("Unknown", (), {"higher_is_better": None})
    monkeypatch.setitem(sys.modules, "torchmetrics.regression.mape", classes)
    given = [functions.absolute_percentage, functools.partial(functions.absolute_percentage)]
    for function in given:
        assert not a_suite(metrics={"MAPE": function}).metrics["MAPE"].higher_is_better
    with pytest.raises(SuiteError, match="nobody can tell whether more of metric 'unknown' is better"):
        a_suite(metrics=[functions.unknown])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"metrics": [relative_error]}, "write harness.Metric\\(relative_error, higher_is_better=...\\)"),
        ({"metrics": ["accuracy"]}, "unknown metric 'accuracy'; .*rmse"),
        ({"metrics": {"rmse": Metric(relative_error, higher_is_better=False)}}, "not as another is, got 'rmse'"),
        ({"metrics": {"a+b": Metric(relative_error, higher_is_better=False)}}, "got 'a\\+b'"),
        ({"metrics": {"error": 3}}, "must be a function of outputs and targets"),
        ({"metrics": {"huber": Metric(relative_error, higher_is_better=False)}, "loss": huber}, "'huber' twice"),
        ({"metrics": {"x": Metric(huber, higher_is_better=False)}, "loss": "x"}, "also the name of a metric of"),
        ({"also": [{"metrics": [sklearn_metrics.r2_score]}]}, "beside `also`"),
    ],
)
def test_what_can_not_be_told_is_refused(given, says):
    with pytest.raises(SuiteError, match=says):
        a_suite(**given)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda: Metric("accuracy", higher_is_better=True), "needs a function"),
        (lambda: Metric(huber, higher_is_better="yes"), "higher_is_better to be True or False"),
        (lambda: Metric(huber, higher_is_better=True, unit=3), "unit to be text"),
    ],
)
def test_a_metric_says_what_it_needs(made, says):
    with pytest.raises(SuiteError, match=says):
        made()


def test_every_spelling_of_metrics_is_one():
    assert a_trial(metrics="b+a+b").metrics == "a+b"
