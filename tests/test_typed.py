"""What is read has the types that it was written with, or is refused by name."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DamageError
from harness.typed import check_members, fits, shown
from tests.support.mutations import nested

SCALARS = {str: st.text(), int: st.integers(-(2**63) + 1, 2**63 - 1), bool: st.booleans(), type(None): st.none()}
NUMBERS = st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)


@dataclass(frozen=True, kw_only=True)
class Content:
    name: str
    parts: Sequence[float | None]
    facts: Mapping[str, str | int | bool | None] = field(default_factory=dict)
    other: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)


WHOLE = {"name": "a", "parts": [1.5, None, 2], "facts": {"a": 1, "b": None}, "other": {"a": {"b": ["c"]}}}


@given(st.fixed_dictionaries({"name": st.text(), "parts": st.lists(NUMBERS | st.none())}))
def test_what_was_written_is_let_in(content):
    check_members(json.loads(json.dumps(content)), Content, "here:")


@pytest.mark.parametrize("hint", SCALARS)
@pytest.mark.parametrize("other", SCALARS)
@given(data=st.data())
def test_a_scalar_fits_its_own_type_alone(hint, other, data):
    value = data.draw(SCALARS[other])
    assert fits(value, hint) is (hint is other)
    assert fits([value], Sequence[hint]) is (hint is other)
    assert fits({"a": value}, Mapping[str, hint | float]) is (hint is other or other is int)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": None}, "name is None"),
        ({"name": ["a"]}, "name is ['a']"),
        ({"parts": "12"}, "parts is '12'"),
        ({"parts": {"a": 1}}, "parts is {'a': 1}"),
        ({"parts": [True]}, "parts is [True]"),
        ({"parts": [2**63]}, "parts is [9223372036854775808]"),
        ({"parts": [[1.0]]}, "parts is [[1.0]]"),
        ({"facts": {"a": 1.5}}, "facts is {'a': 1.5}"),
        ({"facts": []}, "facts is []"),
        ({"other": {"a": {"b": "c"}}}, "other is {'a': {'b': 'c'}}"),
        ({"more": 1}, "'more' is unknown"),
    ],
)
def test_another_type_is_refused_by_name(changes, said):
    check_members(WHOLE, Content, "here:")
    with pytest.raises(DamageError) as refused:
        check_members({**WHOLE, **changes}, Content, "here:")
    assert str(refused.value) == f"here: {said}"


def test_a_member_that_is_missing_is_named_unless_it_has_a_default():
    check_members({"name": "a", "parts": []}, Content, "here:")
    with pytest.raises(DamageError, match="here: parts is missing"):
        check_members({"name": "a"}, Content, "here:")


@pytest.mark.parametrize("value", [nested(900), "x" * 10**6, {"a" * 999: 1}, [1] * 10**6], ids=range(4))
def test_a_value_is_shown_in_a_few_letters(value):
    assert len(shown(value)) <= 50
    assert fits(value, Any)
