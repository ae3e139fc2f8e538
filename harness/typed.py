"""What is read from a file, held against the types that it was written with: a stranger may have written it.

The types are those of a dataclass's fields, in the part of Python's notation that JSON knows: str, int, float, bool,
None, Sequence, Mapping with names as keys, and unions of these; of a dataclass the members are checked by themselves.
A number is never taken for a truth value, and a whole number has 64 bits, as columns of tables have.
"""

import reprlib
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from harness.errors import DamageError

SCALARS: dict[Any, set[type]] = {str: {str}, bool: {bool}, int: {int}, float: {float, int}, type(None): {type(None)}}
MAX_SHOWN = 50  # letters of a value in a message
_REPR = reprlib.Repr()


def check_members(content: Mapping[str, Any], cls: type, where: str) -> None:
    """Raise DamageError where a member is missing, unknown or of a wrong type; one with a default may be missing."""
    hints = type_hints(cls)
    required = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in required if name not in content]:
        raise DamageError(f"{where} {missing[0]} is missing")
    for name, value in content.items():
        if name not in hints:
            raise DamageError(f"{where} {name!r:.50} is unknown")
        if not fits(value, hints[name]):
            raise DamageError(f"{where} {name} is {shown(value)}")


def is_whole(content: object, cls: type) -> bool:
    """Whether this is an object with all members of a dataclass and no others, each of its type."""
    hints = type_hints(cls)
    if not isinstance(content, Mapping) or content.keys() != hints.keys():
        return False
    return all(fits(content[name], hint) for name, hint in hints.items())


def fits(value: object, hint: Any) -> bool:
    """Whether a value of JSON has a type, all that is in it included."""
    if hint is Any:
        return True
    if scalars := _scalars(hint):
        return type(value) in scalars and _has_64_bits(value)
    kind, arguments = get_origin(hint), get_args(hint)
    if kind in (Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if kind is Sequence:
        return isinstance(value, list) and _all_fit(value, arguments[0])
    if kind is Mapping:
        return isinstance(value, dict) and _all_fit([*value.values()], arguments[1])
    assert is_dataclass(hint), f"no type of JSON: {hint}"
    return isinstance(value, dict)


def shown(value: object) -> str:
    """A value as a message shows it, cut where it is long or deep: a stranger's may be a megabyte."""
    return _REPR.repr(value)[:MAX_SHOWN]


@cache
def type_hints(cls: type) -> dict[str, Any]:
    """The fields of a dataclass -> their types."""
    return get_type_hints(cls)


def _all_fit(values: list[Any], hint: Any) -> bool:
    """Whether all values have a type; curves have thousands of them."""
    if scalars := _scalars(hint):
        kinds = {*map(type, values)}
        return kinds <= scalars and (int not in kinds or all(map(_has_64_bits, values)))
    return all(fits(value, hint) for value in values)


@cache
def _scalars(hint: Any) -> frozenset[type]:
    """The types that a value may have, where it is a single one; else none."""
    if hint in SCALARS:
        return frozenset(SCALARS[hint])
    arguments = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else ()
    are_scalars = all(argument in SCALARS for argument in arguments)
    return frozenset(kind for argument in arguments for kind in SCALARS[argument]) if are_scalars else frozenset()


def _has_64_bits(value: object) -> bool:
    return type(value) is not int or -(2**63) < value < 2**63
