"""What a module keeps beside its tensors leaves as JSON and comes back as it was."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.export.plain_values import decode, encode
from harness.nn.module_checks import KEPT_DTYPES

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
TENSORS = st.builds(
    lambda dtype, shape: torch.arange(math.prod(shape)).to(dtype).view(shape),
    st.sampled_from(KEPT_DTYPES),
    st.sampled_from([(), (0,), (3,), (2, 0), (2, 3)]),
)
KEYS = st.text() | st.integers() | st.booleans() | st.tuples(st.integers())
VALUES = st.recursive(
    PLAIN | TENSORS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=9,
)


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        assert_same(list(one.values()), list(other.values()))
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    else:
        assert one == other or (math.isnan(one) and math.isnan(other))


@given(VALUES)
def test_whatever_is_plain_comes_back_as_it_was(value):
    assert_same(decode(json.loads(json.dumps(encode(value), allow_nan=False))), value)


@pytest.mark.parametrize("value", [{1, 2}, object(), range(3), 1j, torch.float32, torch.eye(2).to_sparse(), [{3}]])
def test_what_is_not_plain_is_refused(value):
    with pytest.raises(ValueError, match="is no tensor, number, text, list, tuple or dict"):
        encode(value)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"tensor": ["torch.float32", [2**40, 2**40], ""]},
        {"tensor": ["torch.float32", [-1], ""]},
        {"tensor": ["torch.object", [1], ""]},
        {"tensor": ["torch.float32", [1], "!!!!"]},
        {"tensor": 3},
        {"float": "x"},
        {"dict": [[[], 1]]},
        {"tuple": 7},
        {"pickle": ""},
        {"dict": [], "tuple": []},
    ],
    ids=str,
)
def test_what_nobody_encoded_is_refused(value):
    with pytest.raises(ValueError):  # noqa: PT011 (whoever reads the file says which it is)
        decode(value)
