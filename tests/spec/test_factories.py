"""Functions of a suite's own of every kind: their names, and that what tells them apart is part of their trials."""

import pytest

from harness.errors import SuiteError
from harness.spec.loader import load_suite

SUITE = '''"""Which is better?"""

from functools import partial

from harness import Suite


class Net:
    def __init__(self, inputs, classes, width=4):
        self.width = width

    @classmethod
    def small(cls, inputs, classes):
        return cls(inputs, classes, 2)


class Maker:
    def __init__(self, width):
        self.width = width

    def __call__(self, inputs, classes):
        return Net(inputs, classes, self.width)

    def build(self, inputs, classes):
        return Net(inputs, classes, self.width)


def make(width):
    def net(inputs, classes):
        return Net(inputs, classes, width)

    return net


def wide(inputs, classes, width=4):
    return Net(inputs, classes, width)


{before}
suite = Suite(dataset="digits", model={model}, lr=0.1, batch_size=7, steps=5)
'''


def load(tmp_path, model, before=""):
    (tmp_path / "suite.py").write_text(SUITE.format(model=model, before=before), "utf-8")
    return load_suite(tmp_path / "suite.py")


def trial_of(tmp_path, model, before=""):
    (trial,) = load(tmp_path, model, before).trials(device="cpu")
    return trial


NAMES = {  # what the model is given as -> its name, and the width that it has
    "Net": ("Net", 4),
    "wide": ("wide", 4),
    "Net.small": ("small", 2),
    "partial(wide, width=8)": ("wide(width=8)", 8),
    "partial(partial(wide, width=8), width=9)": ("wide(width=9)", 9),
    "lambda inputs, classes: Net(inputs, classes, 8)": ("lambda", 8),
    "Maker(8)": ("Maker(width=8)", 8),
    "Maker(8).build": ("build", 8),
    "make(8)": ("net", 8),
}


@pytest.mark.parametrize("model", NAMES)
def test_each_goes_by_a_name_and_makes_what_it_says(model, tmp_path):
    suite = load(tmp_path, model)
    ((name, function),) = suite.suite.functions.items()
    assert (name, function(inputs=1, classes=2).width) == NAMES[model]
    assert trial_of(tmp_path, model).model == name


@pytest.mark.parametrize(
    "code", ["own = partial(wide, width=8)", "own = lambda inputs, classes: Net(inputs, classes, 8)", "own = Maker(8)"]
)
def test_one_that_stands_in_a_variable_goes_by_its_name(code, tmp_path):
    trial = trial_of(tmp_path, "own", code)
    assert trial.model == "own"
    assert trial.source != trial_of(tmp_path, "own", code.replace("8", "9")).source


@pytest.mark.parametrize(
    ("model", "changed"),
    [
        ("partial(wide, width=8)", "partial(wide, width=9)"),
        ("[lambda inputs, classes: Net(inputs, classes, 8)]", "[lambda inputs, classes: Net(inputs, classes, 9)]"),
        ("Maker(8)", "Maker(9)"),
        ("Maker(8).build", "Maker(9).build"),
        ("make(8)", "make(9)"),
        ("(lambda w: lambda inputs, classes: w)(8)", "(lambda w: lambda inputs, classes: w)(9)"),
        ("partial(make(8), classes=3)", "partial(make(9), classes=3)"),
    ],
)
def test_what_is_made_in_the_declaration_is_known_by_what_it_holds(model, changed, tmp_path):
    trial = trial_of(tmp_path, model)
    assert trial.key == trial_of(tmp_path, model).key
    assert trial.key != trial_of(tmp_path, changed).key


def test_what_is_written_around_a_lambda_does_not_rename_it(tmp_path):
    model = "lambda inputs, classes: Net(inputs, classes, 8)"
    assert trial_of(tmp_path, model).key == trial_of(tmp_path, f"[{model},\n]").key


@pytest.mark.parametrize(
    "model", ["make(object())", "Maker(object()).build", "partial(wide, width=object())", "Maker(object())"]
)
def test_what_holds_more_than_plain_values_is_refused_with_a_remedy(model, tmp_path):
    with pytest.raises(SuiteError, match="give it a name: write `def`, or assign it to a variable above the suite"):
        load(tmp_path, model)
    assert load(tmp_path, "own", f"own = {model}").sources


def test_a_list_of_functions_of_one_name_is_refused(tmp_path):
    with pytest.raises(SuiteError, match="needs a name that no other has, got 'net' twice"):
        load(tmp_path, "[make(8), make(9)]")


def test_partials_with_other_values_are_models_of_their_own(tmp_path):
    suite = load(tmp_path, "[partial(wide, width=width) for width in (4, 8)]")
    assert [trial.model for trial in suite.trials(device="cpu")] == ["wide(width=4)", "wide(width=8)"]
