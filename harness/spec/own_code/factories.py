"""Functions of a suite's own that make its models and datasets: the name that each goes by, and what tells it apart.

A function, class or method has a name. A lambda, a `functools.partial` or an object that can be called goes by the
variable of the suite that it stands in; without one, by what it is made of: "Net(width=8)". What such a one holds must
then be plain values, so that it is known whether two are the same.
"""

import ast
import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from types import FunctionType, ModuleType
from typing import Any

from harness.errors import SuiteError
from harness.spec.own_code.syntax import parse
from harness.spec.trial import PLAIN_TYPES

LAMBDA = "<lambda>"
NAME_OF_LAMBDA = "lambda"  # where it stands in no variable
REMEDY = "give it a name: write `def`, or assign it to a variable above the suite"


def factory_name(axis: str, value: Callable[..., Any], variables: Mapping[str, Any]) -> str:
    """The name that a function of the suite's own goes by in tables; SuiteError where it can have none."""
    if any(kind.__module__ == "torch.nn.modules.module" for kind in type(value).__mro__):
        raise SuiteError(
            f"a {axis} of the suite's own must be made anew for each trial, got a {type(value).__name__} that is made; "
            "give its class, or a function that returns one"
        )
    if re.fullmatch(r"[^\W\d]\w*", name := getattr(value, "__name__", "")):
        return name
    if variable := next((name for name, bound in variables.items() if bound is value), ""):
        return variable
    if name == LAMBDA:
        return NAME_OF_LAMBDA
    described = _described(value)
    if not described or (name and not name.isidentifier()):
        raise SuiteError(f"a {axis} of the suite's own needs a name that no other has, got {name or value!r}; {REMEDY}")
    return described


def _described(value: Any) -> str:
    """What a value is made of, in letters that a table and a command line can hold; empty where it can't be told."""
    if isinstance(value, PLAIN_TYPES):
        return text if re.fullmatch(r"[\w.+-]*", text := str(value)) else ""
    if isinstance(value, list | tuple):
        parts = [_described(item) for item in value]
        return "-".join(parts) if all(parts) else ""
    if isinstance(value, functools.partial):
        return _call(_described(value.func), value.args, value.keywords)
    if name := getattr(value, "__name__", ""):
        return name if name.isidentifier() else ""
    return _call(type(value).__name__, (), vars(value)) if callable(value) and hasattr(value, "__dict__") else ""


def _call(name: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> str:
    positional = [_described(value) for value in arguments]
    named = {key: _described(value) for key, value in sorted(keywords.items())}
    if not (name and all(positional) and all(named.values())):
        return ""
    return f"{name}({'; '.join([*positional, *(f'{key}={value}' for key, value in named.items())])})"


def inline_identity(name: str, function: Callable[..., Any], module: ModuleType, text: str) -> str:
    """What tells a function apart that is made in the declaration of a suite; empty where other code makes it.

    That code is part of the trial by itself. SuiteError where it holds more than plain values.
    """
    if _is_made_elsewhere(function, module):
        return ""
    try:
        identity = _identity(function, str(module.__file__), text)
    except RecursionError:  # it holds itself
        identity = None
    if identity is None:
        raise SuiteError(f"nobody can tell what {name!r} is made from: it holds more than plain values; {REMEDY}")
    return identity


def _is_made_elsewhere(function: Any, module: ModuleType) -> bool:
    """Whether it stands in a variable, or in a list or dictionary that does, of the suite or of its own module."""
    home = sys.modules.get(getattr(function, "__module__", None) or "")
    values = [value for scope in (module, home) if scope for value in vars(scope).values()]
    holders = [value for value in values if isinstance(value, list | tuple | dict)]
    held = [item for holder in holders for item in (holder.values() if isinstance(holder, dict) else holder)]
    if inspect.ismethod(function):
        return any(value is function or value is function.__self__ for value in [*values, *held])
    return any(value is function for value in [*values, *held])


def _identity(value: Any, file: str, text: str) -> str | None:
    """A text that is the same for equal values; None where there is no such."""
    if isinstance(value, PLAIN_TYPES):
        return repr(value)
    if isinstance(value, list | tuple | dict):
        items = [*value.items()] if isinstance(value, dict) else [*value]
        return _joined(type(value).__name__, items, file, text)
    if isinstance(value, functools.partial):
        return _joined("partial", [value.func, value.args, value.keywords], file, text)
    if inspect.ismethod(value):
        return _joined(value.__name__, [value.__self__], file, text)
    if inspect.isclass(value) or inspect.isbuiltin(value):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return _joined(_name_or_text(value, file, text), [*cells, value.__defaults__, value.__kwdefaults__], file, text)
    if hasattr(value, "__dict__") and callable(value) and not isinstance(value, ModuleType):
        return _joined(f"{type(value).__module__}.{type(value).__qualname__}", [vars(value)], file, text)
    return None


def _joined(name: str | None, values: list[Any], file: str, text: str) -> str | None:
    parts = [_identity(value, file, text) for value in values]
    return None if name is None or None in parts else f"{name}({', '.join(map(str, parts))})"


def _name_or_text(function: FunctionType, file: str, text: str) -> str | None:
    """The name of a function, whose text is known by its module; of a lambda in this file, its text."""
    if function.__name__ != LAMBDA:
        return f"{function.__module__}.{function.__qualname__}"
    code = function.__code__
    if code.co_filename != file:
        return None
    places = [(line, column) for line, _, column, _ in code.co_positions() if line is not None and column is not None]
    # The instruction that begins the function has a place of its own.
    inside = [place for place in places if place != (code.co_firstlineno, 0)]
    holding = [
        node
        for node in ast.walk(parse(text))
        if isinstance(node, ast.Lambda)
        and node.lineno == code.co_firstlineno
        and all(_start(node) <= place <= _end(node) for place in inside)
    ]
    if not holding:
        return None
    innermost = max(holding, key=_start)
    return ast.get_source_segment(text, innermost)


def _start(node: ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.expr) -> tuple[int, int]:
    return node.end_lineno or node.lineno, node.end_col_offset or 0
