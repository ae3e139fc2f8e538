"""JSON as a stranger might write it: what was written, with a part missing, added, moved or of another kind."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import strategies as st


def nested(depth: int) -> Any:
    """A list of a list of ..."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


STRANGE: list[Any] = [
    *(None, True, False, 0, -1, 7, 1.5, -0.5, 1e308, 2**31, 2**63, -(2**70), 10**400),
    *("", "x", "nan", "inf", "trained", "../../x", "\x1b[2J\u202e", "\ud800", "a\nb", "9" * 5000, "cpu", "lr", "norm"),
    *([], [None], [[]], [1, 2], ["x"], [1.5], [None, 0.5]),
    *({}, {"a": 1}, {"": None}, {"lr": [0.1]}, {"step": [0], "value": [1.0]}, {"step": [], "value": []}),
    nested(300),
]


NAMES = ("lr", "key", "suite", "status", "classes", "test_accuracy", "seconds_train", "norm_batch", "\x1b", "")


def a_place(draw: st.DrawFn, content: Any) -> tuple[Any, ...]:
    """The path to something in JSON: as often in a small part of it as in a large one, and rather high up than deep."""
    path: tuple[Any, ...] = ()
    while isinstance(content, dict | list) and content and (not path or draw(st.booleans())):
        names = list(content) if isinstance(content, dict) else sorted({0, len(content) - 1})
        path = (*path, draw(st.sampled_from(names)))
        content = content[path[-1]]
    return path


@st.composite
def mutated(draw: st.DrawFn, content: Any, donor: Any) -> Any:
    """The content with a change or two; `donor` is the same of another trial."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.sampled_from((1, 1, 2)))):
        path = a_place(draw, content)
        if not path:
            break
        holder = content
        for step in path[:-1]:
            holder = holder[step]
        match draw(st.sampled_from(("replace", "replace", "delete", "add", "repeat", "donate"))):
            case "replace":
                holder[path[-1]] = draw(st.sampled_from(STRANGE))
            case "delete":
                del holder[path[-1]]
            case "add" if isinstance(holder, dict):
                holder[draw(st.sampled_from(NAMES))] = draw(st.sampled_from(STRANGE))
            case "repeat" if isinstance(holder, list):
                holder.append(holder[path[-1]])
            case "donate":
                holder[path[-1]] = _at(donor, path)
    return content


def _at(content: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        try:
            content = content[step]
        except (LookupError, TypeError):
            return None
    return copy.deepcopy(content)


def at_the_edge(content: Any, paths: Iterable[tuple[Any, ...]], is_read: Callable[[Any], bool], number: int) -> Any:
    """The content with all at these paths changed that can be, so that it is read all the same.

    Of the strange values that would be read there, each has the one of this number.
    """
    for path in paths:
        candidates = [_with(content, path, value) for value in STRANGE]
        if read := [candidate for candidate in candidates if is_read(candidate)]:
            content = read[number % len(read)]
    return content


def _with(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    content = copy.deepcopy(content)
    holder = content
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    return content
