"""What an optimizer is given besides the settings that are axes of their own, as the one text that a trial has for it.

A suite writes a mapping, `optimizer_args={"betas": (0.9, 0.95), "eps": 1e-7}`. In tables that is
"betas=(0.9, 0.95), eps=1e-07".
"""

import ast
import math
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from harness.errors import SuiteError
from harness.spec.own_code.syntax import parse_expression

Args = Mapping[str, Any]  # name -> number, text, truth value, None, or a tuple of these

WRITTEN = "such as {'betas': (0.9, 0.95)}"
AXES = ("lr", "weight_decay")  # that every optimizer has, and that are fields of a trial


def canonical_args(value: Any, as_plain: Callable[[Any], Any]) -> str:
    """The arguments in their one form: sorted by name, numbers as Python prints them; "" where there are none.

    `as_plain` makes a plain number of one of numpy's or torch's.
    """
    if isinstance(value, str):
        value = args_of(value)
    if not isinstance(value, Mapping):
        raise SuiteError(f"optimizer_args must be a mapping, {WRITTEN}, got {value!r} ({type(value).__name__})")
    for name in value:
        if not (isinstance(name, str) and name.isidentifier()):
            raise SuiteError(f"optimizer_args must map names to values, {WRITTEN}, got {name!r} as a name")
        if name in AXES:
            raise SuiteError(
                f"optimizer_args: {name} is a setting of the trial; write {name}=... beside optimizer_args"
            )
    return ", ".join(f"{name}={_plain(name, value[name], as_plain)!r}" for name in sorted(value))


@cache  # trials are many, and their texts few
def args_of(text: str) -> Args:
    """The arguments that such a text stands for; SuiteError where it is none."""
    try:
        call = parse_expression(f"f({text})")
        if not isinstance(call, ast.Call) or call.args or not all(keyword.arg for keyword in call.keywords):
            raise ValueError
        args = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise SuiteError(f"optimizer_args must be a mapping, {WRITTEN}, got {text!r}") from error
    return MappingProxyType(args)


def shape_of_args(text: str) -> str:
    """What of the arguments models that train together must share: all but numbers with a fraction."""
    return ", ".join(f"{name}={value!r}" for name, value in args_of(text).items() if not _is_real(value))


def _is_real(value: Any) -> bool:
    return all(map(_is_real, value)) if isinstance(value, tuple) else isinstance(value, float)


def _plain(name: str, value: Any, as_plain: Callable[[Any], Any]) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_plain(name, item, as_plain) for item in value)
    plain = as_plain(value)
    if not isinstance(plain, str | int | float | bool | None):
        raise SuiteError(
            f"optimizer_args: {name} must be a number, a text, True, False, None or a tuple of these, got {value!r}"
        )
    if isinstance(plain, float) and not math.isfinite(plain):
        raise SuiteError(f"optimizer_args: {name} must be finite, got {plain}")
    if isinstance(plain, str) and not plain.isidentifier():
        raise SuiteError(f"optimizer_args: {name} must be a text of letters, digits and underscores, got {plain!r}")
    return plain
