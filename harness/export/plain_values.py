"""What a module may keep beside its tensors (torch's extra state), as JSON: plain values and tensors, nested.

Kinds that JSON lacks are a dictionary of one entry, whose key names the kind. ValueError for anything else.
"""

import base64
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from harness.nn.tensor_bytes import DTYPES, from_bytes, to_bytes


def encode(value: Any) -> Any:
    """The value as JSON has it."""
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if type(value) is list:
        return [encode(item) for item in value]
    if type(value) is tuple:
        return {"tuple": [encode(item) for item in value]}
    if type(value) in (dict, OrderedDict):
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    if type(value) is bytes:
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, Tensor) and str(value.dtype) in DTYPES and value.layout == torch.strided:
        return {"tensor": [str(value.dtype), list(value.shape), base64.b64encode(to_bytes(value)).decode()]}
    raise ValueError(f"a {type(value).__name__} is no tensor, number, text, list, tuple or dict")


def decode(value: Any) -> Any:
    """What `encode` was given; ValueError where it can't have been."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return [decode(item) for item in value]
    try:
        ((kind, content),) = value.items()
        return _KINDS[kind](content)
    except (AttributeError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{str(value)[:50]} is no plain value") from error


def _tensor(content: Any) -> Tensor:
    dtype, shape, text = content
    return from_bytes(base64.b64decode(text, validate=True), DTYPES[dtype], shape)


_KINDS: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "tuple": lambda content: tuple(decode(item) for item in content),
    "dict": lambda content: {decode(key): decode(item) for key, item in content},
    "bytes": lambda content: base64.b64decode(content, validate=True),
    "tensor": _tensor,
}
