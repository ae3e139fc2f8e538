"""Options of an engine from a file in TOML: known names and right types, or one line that says what is wrong."""

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import UsageError, nearest

T = TypeVar("T")


def read_table(path: Path) -> dict[str, Any]:
    """What the file holds, unchecked; UsageError where it can't be read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"--executor-options: can't read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise UsageError(f"--executor-options: {path} is no TOML: {error}") from error


def options_from(kind: type[T], table: Mapping[str, Any]) -> T:
    """The dataclass `kind`, which checks its values, from a table of the file."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type] # every kind is a dataclass
    for name in table:
        if name not in names:
            raise UsageError(f"unknown option {name!r}; {nearest(name, names)}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in table.items()})


def require_integer(name: str, value: object, lowest: int, highest: int) -> None:
    """UsageError where an option is no whole number of that range."""
    if type(value) is not int or not lowest <= value <= highest:
        raise UsageError(f"{name} must be a whole number from {lowest} to {highest}, got {value!r}")


def require_lines(name: str, value: object) -> None:
    """UsageError where an option is no list of texts, each of one line."""
    is_list = isinstance(value, tuple)
    for line in value if isinstance(value, tuple) else ():
        is_list = is_list and isinstance(line, str) and line.replace("\t", " ").isprintable() and bool(line.strip())
    if not is_list:
        shown = list(value) if isinstance(value, tuple) else value
        raise UsageError(f"{name} must be a list of texts of one line each, got {shown!r:.200}")
