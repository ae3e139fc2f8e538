import functools
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import Claim, Suite
from harness.errors import SuiteError
from harness.spec.trial import Trial
from tests.support.strategies import AXES, REQUIRED

FIXED = {"dataset": "circles", "model": "mlp-8", "lr": 0.1, "batch_size": 7, "steps": 5}
SMALL_AXES = {
    axis: st.lists(AXES[axis], min_size=1, max_size=3, unique=True) for axis in ("norm", "seed", "lr", "init")
}


def trials(**settings):
    """The trials of a suite with these settings."""
    return list(Suite(**{**FIXED, **settings}).trials())


def own_net():
    """A model that a suite brings."""


def other_net():
    """Another one."""


@given(st.fixed_dictionaries({}, optional=SMALL_AXES))
def test_a_suite_is_the_product_of_its_axes(axes):
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    expected = [Trial(**{**FIXED, **point, "device": "cpu"}) for point in points]
    assert sorted(t.key for t in trials(**axes)) == sorted(t.key for t in expected)


@given(st.fixed_dictionaries({axis: SMALL_AXES[axis] for axis in ("init", "norm", "lr", "seed")}))
def test_seeds_are_outermost_and_arms_innermost(axes):
    made = trials(**axes, compare="norm")
    assert [t.seed for t in made] == sorted((t.seed for t in made), key=axes["seed"].index)
    arms = len(axes["norm"])
    assert all([t.norm for t in made[i : i + arms]] == axes["norm"] for i in range(0, len(made), arms))


def test_a_value_alone_is_an_axis_of_one_value():
    assert trials(norm="batch") == trials(norm=["batch"])


@pytest.mark.parametrize(
    "seeds",
    [
        range(3),
        (0, 1, 2),
        [0, 1, 2],
        np.arange(3),
        dict.fromkeys(range(3)).keys(),
        (i for i in range(3)),
        map(int, "012"),
    ],
    ids=lambda seeds: type(seeds).__name__,
)
def test_an_axis_may_be_any_sequence_of_values(seeds):
    assert [t.seed for t in trials(seed=seeds, also=[{"norm": "batch"}])] == [0, 1, 2, 0, 1, 2]


def test_a_numpy_scalar_is_one_value():
    assert trials(lr=np.array(0.3)) == trials(lr=np.float64(0.3)) == trials(lr=0.3)


def test_a_set_is_refused_because_its_order_changes_from_run_to_run():
    with pytest.raises(SuiteError, match="axis 'norm' is a set"):
        trials(norm={"batch", "none"})


@pytest.mark.parametrize("empty", [[], (), range(0), np.array([])], ids=["list", "tuple", "range", "array"])
def test_an_empty_axis_is_refused_by_name(empty):
    with pytest.raises(SuiteError, match="axis 'lr' is empty"):
        trials(lr=empty)


@pytest.mark.parametrize(
    ("axis", "values", "says"),
    [
        ("lr", [0.1, 0.3, 1e-1], "0.1"),
        ("lr", [1, 1.0], "1.0"),
        ("seed", [3, 5, 3], "3"),
        ("norm", ["batch", "none", "batch"], "'batch'"),
        ("norm_momentum", [0.0, -0.0], "0.0"),
        ("model", [own_net, "own_net"], "'own_net'"),
    ],
)
def test_a_value_that_an_axis_has_twice_is_refused(axis, values, says):
    with pytest.raises(SuiteError, match=f"axis '{axis}' has {says} twice"):
        trials(**{axis: values})


@pytest.mark.parametrize("where", ["suite", "also", "compare"])
def test_a_misspelt_field_is_named_with_the_nearest_one(where):
    wrong = {"suite": {"batchsize": 7}, "also": {"also": [{"batchsize": 7}]}, "compare": {"compare": "batchsize"}}
    with pytest.raises(SuiteError, match=r"unknown field 'batchsize'; did you mean 'batch_size'\?"):
        trials(**wrong[where])


@pytest.mark.parametrize("axis", [axis for axis in REQUIRED if axis != "steps"])
def test_a_suite_that_leaves_out_what_it_must_say_is_refused(axis):
    with pytest.raises(SuiteError, match=f"must say {axis}"):
        Suite(**{name: value for name, value in FIXED.items() if name != axis})


def test_a_suite_does_not_set_what_is_computed():
    with pytest.raises(SuiteError, match="source is computed"):
        trials(source="a")


def test_only_if_keeps_the_trials_for_which_it_is_true():
    axes = {"norm": ["batch", "none"], "lr": [0.1, 0.3, 1.0]}
    kept = trials(**axes, only_if=lambda t: t.norm == "none" or t.lr < 0.5)
    assert kept == [t for t in trials(**axes) if t.norm == "none" or t.lr < 0.5] != trials(**axes)


@pytest.mark.parametrize("failing", [lambda t: t.nrom, lambda t: 1 / 0, lambda: True], ids=["name", "value", "arity"])
def test_an_only_if_that_fails_is_an_error_of_the_suite(failing):
    with pytest.raises(SuiteError, match=r"only_if failed on .*'lr': 0.1"):
        trials(only_if=failing)


def test_an_only_if_that_is_no_function_is_refused():
    with pytest.raises(SuiteError, match="only_if"):
        trials(only_if=True)


def test_also_adds_grids_that_differ_from_the_first_in_the_fields_named():
    grids = trials(norm=["batch", "none"], seed=[0, 1, 2], also=[{"lr": [0.3, 1.0], "norm": "layer"}, {"seed": 7}])
    first = trials(norm=["batch", "none"], seed=[0, 1, 2])
    second = trials(norm="layer", seed=[0, 1, 2], lr=[0.3, 1.0])
    third = trials(norm=["batch", "none"], seed=7)
    assert [t.key for t in grids] == [t.key for t in first + second + third]


def test_a_trial_in_several_grids_is_one_trial():
    assert trials(seed=[0, 1], also=[{"seed": [1, 2]}, {}]) == trials(seed=[0, 1, 2])


def test_device_stands_in_for_auto_alone():
    suite = Suite(**FIXED, device=["auto", "cpu"])
    assert [t.device for t in suite.trials(device="cuda")] == ["cuda", "cpu"]
    assert [t.device for t in suite.trials(device="cpu")] == ["cpu"]
    assert [t.device for t in Suite(**FIXED).trials(device="mps")] == ["mps"]


def test_a_function_of_the_suites_own_goes_by_its_name():
    suite = Suite(**{**FIXED, "model": [own_net, "mlp-8", other_net], "dataset": own_net})
    assert [t.model for t in suite.trials()] == ["own_net", "mlp-8", "other_net"]
    assert suite.functions == {"own_net": own_net, "other_net": other_net}


def test_the_source_of_what_a_suite_brings_is_in_the_trials_that_use_it_alone():
    suite = Suite(**{**FIXED, "model": [own_net, "mlp-8"], "dataset": ["a.npz", "digits"]})
    found = {(t.model, t.dataset): t.source for t in suite.trials(sources={"own_net": "f00", "a.npz": "da7a"})}
    assert found == {
        ("own_net", "a.npz"): "f00+da7a",
        ("own_net", "digits"): "f00",
        ("mlp-8", "a.npz"): "da7a",
        ("mlp-8", "digits"): "",
    }


def test_a_name_is_refused_that_a_function_of_another_axis_goes_by():
    """Norm "own_net" would be looked up, and found to be a model."""
    with pytest.raises(SuiteError, match="norm 'own_net' is also the name of a model of the suite's own"):
        Suite(**{**FIXED, "model": own_net, "norm": ["batch", "own_net"]})
    assert Suite(**{**FIXED, "model": own_net, "dataset": own_net, "norm": "batch"}).functions == {"own_net": own_net}


@pytest.mark.parametrize(
    "nameless",
    [type("a b", (), {}), functools.partial(own_net, object()), functools.partial(own_net, "a, b")],
    ids=["class", "object", "comma"],
)
def test_a_function_without_a_name_is_refused(nameless):
    with pytest.raises(SuiteError, match="needs a name that no other has"):
        trials(model=nameless)


def test_two_functions_with_one_name_are_refused():
    def own_net():
        """Called as the one of this module."""

    with pytest.raises(SuiteError, match=r"needs a name that no other has, got 'own_net' twice"):
        trials(model=own_net, dataset=globals()["own_net"])


def test_a_function_is_no_value_of_any_other_axis():
    with pytest.raises(SuiteError, match="activation must be str"):
        trials(activation=own_net)


@pytest.mark.parametrize("target", [0, -0.5, 1.01, 90, math.nan, math.inf])
def test_a_target_accuracy_that_is_no_fraction_is_refused(target):
    with pytest.raises(SuiteError, match=f"target_accuracy must be a fraction .* got {target!r}"):
        Suite(**FIXED, target_accuracy=target)


@pytest.mark.parametrize("target", [None, 1e-9, 0.9, 1, 1.0])
def test_a_target_accuracy_that_is_a_fraction_is_kept(target):
    assert Suite(**FIXED, target_accuracy=target).target_accuracy == target


@pytest.mark.parametrize(
    ("axes", "compared"),
    [
        ({}, "norm"),
        ({"lr": [0.1, 0.3], "seed": [0, 1, 2]}, "norm"),
        ({"init": ["he", "default"], "lr": [0.1, 0.3]}, "init"),
        ({"init": ["he", "default"], "norm": ["batch", "none"]}, "norm"),
        ({"init": ["he", "default"], "compare": "lr"}, "lr"),
        ({"also": [{"optimizer": ["sgd", "adam"]}]}, "optimizer"),
    ],
)
def test_what_is_compared_is_the_axis_named_else_norm_else_the_first_that_varies(axes, compared):
    assert Suite(**{**FIXED, **axes}).compare == compared


def test_claims_are_kept_in_their_order():
    claims = [Claim.better("batch", than="none"), Claim.sooner("batch", than="none")]
    assert Suite(**FIXED, claims=iter(claims)).claims == tuple(claims)


@pytest.mark.parametrize("claims", [["batch is better"], [None], [Claim]])
def test_what_is_no_claim_is_refused(claims):
    with pytest.raises(SuiteError, match="claims must be made by"):
        Suite(**FIXED, claims=claims)


def test_a_bad_value_is_refused_before_anything_is_trained():
    with pytest.raises(SuiteError, match=r"lr must be positive and finite, got -0.3"):
        trials(lr=[0.1, -0.3])


def test_a_suite_can_not_be_changed():
    suite = Suite(**FIXED)
    with pytest.raises(AttributeError):
        suite.compare = "lr"


@pytest.mark.parametrize("axis", ["model", "dataset"])
@pytest.mark.parametrize("name", ["null", "NULL", "NA", "nan", "NaN", "inf", "Infinity", "true", "FALSE"])
def test_a_function_whose_name_tables_would_lose_is_refused(axis, name):
    def function():
        """Nothing of it is called."""

    function.__name__ = name
    with pytest.raises(SuiteError, match=f"tables take the name '{name}' for .*; call the {axis} something else"):
        Suite(**{"dataset": "digits", "model": "mlp-8", "lr": 0.1, "batch_size": 7, "steps": 5, axis: function})


@pytest.mark.parametrize(
    "target", [50, {}, {"rmse": 50, "mae": 40}, {"rmse": "50"}, {"rmse": True}, {1: 50}, {"rmse": math.inf}]
)
def test_a_target_that_is_not_one_metric_with_its_value_is_refused(target):
    with pytest.raises(SuiteError, match="target must be one metric with its value"):
        Suite(**FIXED, target=target)


def test_a_target_of_accuracy_is_the_target_accuracy_and_both_are_refused():
    assert Suite(**FIXED, target={"accuracy": 0.9}).aim == Suite(**FIXED, target_accuracy=0.9).aim
    assert Suite(**FIXED, target={"loss_ratio": 2}).target == {"loss_ratio": 2.0}
    with pytest.raises(SuiteError, match="give either target_accuracy or target"):
        Suite(**FIXED, target_accuracy=0.9, target={"rmse": 50})
