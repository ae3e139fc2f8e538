"""The arguments of an optimizer, brought into the one text that a trial has for them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness import Suite
from harness.errors import SuiteError
from harness.spec.optimizer_args import args_of
from harness.spec.selection import parse_only, select
from harness.spec.trial import canonical
from tests.support.strategies import a_trial

NUMBERS = st.integers(-99, 99) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = NUMBERS | st.booleans() | st.none() | st.sampled_from(["original", "x"]) | st.tuples(NUMBERS, NUMBERS)
NAMES = st.sampled_from(["eps", "betas", "alpha", "centered", "k"])


@given(st.dictionaries(NAMES, VALUES))
def test_the_text_says_what_was_given_and_is_its_own_text(given_args):
    text = canonical("optimizer_args", given_args)
    assert args_of(text) == given_args
    assert canonical("optimizer_args", text) == text
    assert canonical("optimizer_args", dict(reversed([*given_args.items()]))) == text


def test_numbers_are_what_they_print_as_and_lists_are_tuples():
    given_args = {"eps": np.float32(1e-7), "betas": [torch.tensor(0.9), 0.95], "centered": np.bool_(True)}
    assert canonical("optimizer_args", given_args) == "betas=(0.9, 0.95), centered=True, eps=1e-07"


@pytest.mark.parametrize(
    ("given_args", "says"),
    [
        (3, "must be a mapping, such as .*, got 3"),
        ("eps: 1", "must be a mapping"),
        ("__import__('os')", "must be a mapping"),
        ("eps=__import__('os')", "must be a mapping"),
        ("**{'a': 1}", "must be a mapping"),
        ({1: 2}, "names to values, .* got 1 as a name"),
        ({"a b": 2}, "got 'a b' as a name"),
        ({"lr": 0.1}, "lr is a setting of the trial; write lr="),
        ({"eps": float("nan")}, "eps must be finite"),
        ({"eps": float("inf")}, "eps must be finite"),
        ({"eps": {}}, "eps must be a number"),
        ({"foreach": "a, b=3"}, "must be a text of letters"),
    ],
)
def test_what_is_no_mapping_of_plain_values_is_refused(given_args, says):
    with pytest.raises(SuiteError, match=says):
        canonical("optimizer_args", given_args)


def test_a_mapping_is_one_value_and_a_list_of_them_an_axis_that_can_be_selected():
    one = {"dataset": "digits", "model": "mlp-8", "lr": 0.1, "batch_size": 7, "steps": 5, "optimizer": "adam"}
    (trial,) = Suite(**one, optimizer_args={"eps": 1e-7, "betas": (0.9, 0.95)}).trials()
    assert trial.optimizer_args == "betas=(0.9, 0.95), eps=1e-07"
    trials = list(Suite(**one, optimizer_args=[{}, {"eps": 1e-7, "betas": (0.9, 0.95)}]).trials())
    assert select(trials, parse_only(["optimizer_args=betas=(0.9, 0.95), eps=1e-07"])) == [trial]
    assert select(trials, parse_only(["optimizer_args=not set"])) == trials[:1]
    assert a_trial(optimizer_args={}).key == a_trial().key
