"""The arguments that a function of a suite's own asks for by their names."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import SuiteError


def arguments_of(function: Callable[..., Any]) -> dict[str, bool]:
    """The arguments that a function can be given by their names, and whether it needs them.

    What a `functools.partial` holds is given already.
    """
    given = function.keywords if isinstance(function, functools.partial) else {}
    return {
        name: parameter.default is parameter.empty
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and name not in given
    }


def call_with_known(subject: str, function: Callable[..., Any], known: Mapping[str, Any]) -> Any:
    """What a function returns that is given whichever of the known values it asks for; SuiteError for any other."""
    arguments = arguments_of(function)
    if unknown := [name for name, is_needed in arguments.items() if is_needed and name not in known]:
        raise SuiteError(f"{subject} asks for {unknown[0]!r}; it can have: {', '.join(known)}")
    return function(**{argument: known[argument] for argument in arguments if argument in known})
