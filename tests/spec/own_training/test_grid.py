"""Suites of own training: what they may say, and what tells their trials apart."""

import json

import pytest

from harness import Metric, Suite, command
from harness.errors import SuiteError
from harness.spec.loader import load_suite
from harness.spec.manifest import describe, from_json, measured_of, to_json, trials_of
from harness.spec.selection import parse_only, select
from tests.support.own_training import WALK, returning

ACC = {"acc": Metric(higher_is_better=True, unit="fraction", low=0, high=1)}


def fit(trial, log, checkpoint):
    del trial, log, checkpoint
    return {"acc": 0.5}


def two(trial, log):
    del trial, log
    return {"acc": 0.5}


def suite(**changes):
    return Suite(**{"train": fit, "outcomes": ACC, "variant": ["old", "new"], "seed": range(3), **changes})


def test_any_keyword_is_an_axis_and_an_attribute():
    trials = list(suite(lr=[1, 0.5], norm=[3, 4], also=[{"variant": "third", "world_size": 2}]).trials())
    assert len(trials) == len({trial.key for trial in trials}) == 36
    assert {(trial.lr, type(trial.lr)) for trial in trials} == {(1.0, float), (0.5, float)}
    assert {trial.norm for trial in trials} == {3, 4}  # it means whatever the function takes it for
    assert {trial.world_size for trial in trials if trial.variant == "third"} == {2}


def test_the_first_axis_that_varies_is_compared_and_functions_may_be_one():
    assert suite().compare == "variant"
    assert suite(train=[fit, lambda trial, log, checkpoint: {}], variant="old").compare == "train"
    assert suite(variant="old").compare == "train"
    assert suite(depth=[1, 2], compare="depth").compare == "depth"


def test_a_setting_of_none_does_not_enter_the_key():
    keys = [next(suite(depth=depth, variant="old").trials()).key for depth in ([None, 2], [2, None])]
    assert keys[0] == next(suite(variant="old").trials()).key != keys[1]


def test_the_manifest_has_all_trials_and_outcomes(tmp_path):
    (tmp_path / "walk.py").write_text(WALK, "utf-8")
    loaded = load_suite(tmp_path / "walk.py")
    trials = list(loaded.trials(device="cpu"))
    again = from_json(json.loads(json.dumps(to_json(describe(loaded, trials)))), tmp_path)
    assert trials_of(again, tmp_path) == trials
    assert measured_of(again).columns == ["end", "torch"]


def test_a_selection_takes_settings_by_the_types_that_they_have():
    trials = list(suite(lr=[1, 0.5], flag=[True, False]).trials())
    assert {trial.lr for trial in select(trials, parse_only(["lr=.5", "flag=true", "variant=new"]))} == {0.5}


def test_a_change_of_the_function_makes_new_trials_and_one_of_the_claims_does_not(tmp_path):
    texts = [returning("return {}"), returning("return dict()"), returning("return {}").replace("Is", "Was")]
    keys = []
    for text in texts:
        (tmp_path / "own.py").write_text(text, "utf-8")
        keys.append(next(load_suite(tmp_path / "own.py").trials(device="cpu")).key)
    assert keys[0] != keys[1]
    assert keys[0] == keys[2]


def test_a_program_beside_the_suite_is_part_of_its_command(tmp_path):
    (tmp_path / "own.py").write_text(
        '"""?"""\nfrom harness import Metric, Suite, command\nsuite = Suite(train=command("sh train.sh {seed}"), '
        "outcomes={'a': Metric(higher_is_better=True)})\n",
        "utf-8",
    )
    sources = []
    for text in ("echo 1", "echo 2", "echo 1"):
        (tmp_path / "train.sh").write_text(text, "utf-8")
        sources.append(next(load_suite(tmp_path / "own.py").trials(device="cpu")).source)
    assert sources[0] == sources[2] != sources[1]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train": 3}, "train must be a function of trial, log, checkpoint, got 3"),
        ({"train": two}, "two must take the three arguments trial, log, checkpoint"),
        ({"train": [fit, fit]}, "'fit' twice"),
        ({"outcomes": {}}, "own training needs to say what comes of a trial"),
        ({"outcomes": None}, "own training needs to say what comes of a trial"),
        ({"outcomes": {"acc": 1}}, "outcome 'acc' must be a harness.Metric"),
        ({"outcomes": {"variant": ACC["acc"]}}, "an outcome can't be called 'variant', as a setting is"),
        ({"outcomes": {"score": ACC["acc"]}}, "as another column of the tables is; say test_score, for instance"),
        ({"outcomes": {"acc": Metric(len, higher_is_better=True)}}, "leave its function out"),
        ({"metrics": ACC}, "leave metrics out"),
        ({"probes": ["gradients"]}, "leave probes out"),
        ({"save_models": True}, "leave save_models out"),
        ({"target_accuracy": 0.5}, "an outcome, such as target="),
        ({"target": {"acd": 0.5}}, "acd"),
        ({"variant": [1, "a"]}, "values of one type"),
        ({"variant": [fit]}, "got the function fit; choose by name"),
        ({"variant": [{}]}, "variant must be text"),
        ({"variant": []}, "axis 'variant' is empty"),
        ({"variant": ["a", "a"]}, "'a' twice"),
        ({"lr": [0.0]}, "lr must be a number above 0"),
        ({"lr": float("nan")}, "lr must be finite"),
        ({"seed": -1}, "seed must be zero or more"),
        ({"status": 1}, "can't be called 'status'"),
        ({"also": [{"depth": 3}]}, "`also` gives 'depth', which the first grid lacks"),
        ({"compare": "varient"}, "did you mean 'variant'"),
        ({"train": command("./train --lr {lrr}"), "lr": 0.1}, "{lrr} stands for nothing; did you mean 'lr'"),
        ({"train": command("./train {lr"), "lr": 0.1}, "a brace too many or too few"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(changes, says):
    with pytest.raises(SuiteError) as raised:
        [*suite(**changes).trials(), *describe_measured(suite(**changes))]
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def describe_measured(made):
    from harness.spec.measured import measured_by

    return measured_by(made.trials(), made.aim).columns


def test_outcomes_without_a_function_that_trains_are_refused():
    with pytest.raises(SuiteError, match="give the suite train="):
        Suite(dataset="digits", model="mlp-8", lr=0.1, batch_size=10, steps=1, outcomes=ACC)
