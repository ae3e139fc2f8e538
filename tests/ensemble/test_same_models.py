"""Arms that are one model are refused before training; settings that reach it in any way are not."""

from dataclasses import replace

import pytest
from torch import nn

from harness.data.settings import dataset_key
from harness.ensemble.same_models import check_arms
from harness.errors import SuiteError
from tests.support.alone import BASE, DATA

FEATURES = 64


def head(inputs, classes):
    return [nn.Flatten(), nn.Linear(inputs[0] * inputs[1] * inputs[2], 6)], nn.Linear(6, classes)


def asks_for_nothing(inputs, classes):
    first, last = head(inputs, classes)
    return nn.Sequential(*first, nn.ReLU(), last)


def takes_and_ignores(inputs, classes, norm, activation):
    assert norm is not None
    assert activation is not None
    return asks_for_nothing(inputs, classes)


def uses_both(inputs, classes, norm, activation):
    first, last = head(inputs, classes)
    return nn.Sequential(*first, norm(6), activation(), last)


class Functional(nn.Module):
    """Its norm and activation are no modules of it: they show in what it puts out, and nowhere else."""

    def __init__(self, inputs, classes, norm, activation):
        super().__init__()
        first, self.last = head(inputs, classes)
        self.first = nn.Sequential(*first)
        self.functions = [norm(6), activation()]

    def forward(self, x):
        x = self.first(x)
        for function in self.functions:
            x = function(x)
        return self.last(x)


class NeverCalled(nn.Module):
    """It has the norm and leaves it out of what it computes."""

    def __init__(self, inputs, classes, norm):
        super().__init__()
        self.body, self.norm = asks_for_nothing(inputs, classes), norm(6)

    def forward(self, x):
        return self.body(x)


def keeps_a_number(inputs, classes, activation):
    model = asks_for_nothing(inputs, classes)
    model.bound = 1.0 if isinstance(activation(), nn.Tanh) else 2.0
    return model


MODELS = (asks_for_nothing, takes_and_ignores, uses_both, Functional, NeverCalled, keeps_a_number)
FACTORIES = {f.__name__: f for f in MODELS}


def check(compare, *models, base=BASE, **axis):
    ((name, values),) = axis.items()
    trials = [
        replace(base, model=model, seed=seed, **{name: value})
        for seed in (0, 1)
        for model in models
        for value in values
    ]
    return check_arms(compare, trials, {dataset_key(BASE): DATA}, FACTORIES)


AXES = {
    "norm": ["batch", "group", "none"],
    "activation": ["relu", "tanh"],
    "norm_eps": [1e-5, 1e-2],
    "norm_momentum": [0.1, 0.3],
    "norm_affine": [True, False],
    "init": ["he", "xavier"],
    "init_scale": [1.0, 2.0],
}
BATCH = replace(BASE, norm="batch", norm_groups=2)


@pytest.mark.parametrize("axis", [axis for axis in AXES if not axis.startswith("init")])
def test_a_model_that_asks_for_nothing_is_refused(axis):
    one, other = AXES[axis][:2]
    message = f"model 'asks_for_nothing' does not use {axis}: the arms {one} and {other} are the same model"
    with pytest.raises(SuiteError) as caught:
        check(axis, "asks_for_nothing", base=BATCH, **{axis: AXES[axis]})
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("axis", [axis for axis in AXES if not axis.startswith("init")])
def test_a_model_that_takes_an_argument_and_ignores_it_is_refused(axis):
    with pytest.raises(SuiteError, match=r"'takes_and_ignores' takes (norm|activation) and ignores"):
        check(axis, "takes_and_ignores", base=BATCH, **{axis: AXES[axis]})


@pytest.mark.parametrize("model", ["uses_both", "Functional", "mlp-6"])
@pytest.mark.parametrize("axis", AXES)
def test_a_model_that_a_setting_reaches_is_trained(axis, model):
    if model == "Functional" and axis in ("norm_momentum", "norm_affine"):
        pytest.skip("a norm that is no module of its model stays in training, and its scale is not trained")
    assert check(axis, model, base=BATCH, **{axis: AXES[axis]}) == []


def test_an_axis_may_miss_a_model_of_several_which_is_said():
    said = "model 'asks_for_nothing' does not use activation: the trials with relu and tanh are the same model"
    for compare in ("lr", "activation"):
        assert check(compare, "asks_for_nothing", "uses_both", activation=["relu", "tanh"]) == [said]
    with pytest.raises(SuiteError, match="'asks_for_nothing' does not use activation: the trials with"):
        check("lr", "asks_for_nothing", activation=["relu", "tanh"])
    with pytest.raises(SuiteError, match="'asks_for_nothing' does not use activation: the arms"):
        check("activation", "asks_for_nothing", activation=["relu", "tanh"])


def test_a_norm_that_is_made_and_never_called_is_named():
    (note,) = check("norm", "NeverCalled", norm=["batch", "layer"])
    assert note.startswith("model 'NeverCalled' puts out the same with the arms batch and layer over the first steps")


def test_a_number_that_a_model_keeps_may_show_later_and_is_named():
    (note,) = check("activation", "keeps_a_number", activation=["relu", "tanh"])
    assert "puts out the same with the arms relu and tanh over the first steps" in note


def test_a_norm_that_changes_any_model_reaches_one_that_asks_for_nothing():
    base = replace(BASE, norm_groups=2)
    assert check("norm", "asks_for_nothing", base=base, norm=["ws_batch", "batch"]) == []
    with pytest.raises(SuiteError, match="the arms ws_batch and ws_group are the same model"):
        check("norm", "asks_for_nothing", base=base, norm=["ws_batch", "ws_group"])


def test_norms_that_are_one_in_one_process_are_two_on_two_ranks():
    base = replace(BASE, batch_size=8)
    with pytest.raises(SuiteError, match="model 'mlp-6' does not use norm: the arms batch and sync_batch are the same"):
        check("norm", "mlp-6", base=base, norm=["batch", "sync_batch"])
    assert check("norm", "mlp-6", base=replace(base, world_size=2), norm=["batch", "sync_batch"]) == []


def test_a_setting_of_another_norm_reaches_no_model():
    with pytest.raises(SuiteError, match="the arms 2 and 3 are the same model"):
        check("norm_groups", "mlp-6", base=replace(BASE, norm="batch"), norm_groups=[2, 3])
    assert check("norm_groups", "mlp-6", base=replace(BASE, norm="group"), norm_groups=[2, 3]) == []


def test_an_init_reaches_no_model_without_weights_that_it_fills():
    with pytest.raises(SuiteError, match="model 'flat' has nothing that init changes: the arms he and xavier are"):
        check_arms(
            "init",
            [replace(BASE, model="flat", init=init) for init in ("he", "xavier")],
            {dataset_key(BASE): DATA},
            {"flat": lambda: nn.Flatten()},
        )
