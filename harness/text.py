"""Text that may come from anywhere, as it can be shown: no letter of it does more than be seen."""

import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

LINES = "\n\t"  # what may stand between and within the lines of a longer text


def printable(text: str, keep: str = "") -> str:
    """The text with every letter escaped that can't be seen: controls, marks of direction, what has no width.

    They could move the cursor of a terminal, turn a line around, or hide a part of it. Spaces of any width stay.
    """
    if text.isprintable():
        return text
    return "".join(letter if _is_seen(letter) or letter in keep else _escaped(letter) for letter in text)


def _is_seen(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs"


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 2**8 else f"\\u{code:04x}" if code < 2**16 else f"\\U{code:08x}"


class PrintableStream:
    """A stream of text through which nothing goes but what can be seen, in lines."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(printable(text, keep=LINES))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def unescaped(stream: TextIO) -> TextIO:
    """The stream below one of printable text: for what escapes its text itself, or may write anything."""
    return stream.stream if isinstance(stream, PrintableStream) else stream


@contextmanager
def printable_output() -> Iterator[None]:
    """Let nothing go to stdout and stderr but what can be seen: errors, names and settings may be a stranger's."""
    with redirect_stdout(_printable(sys.stdout)), redirect_stderr(_printable(sys.stderr)):
        yield


@contextmanager
def unescaped_output() -> Iterator[None]:
    """Let a program of the user's own write to the terminal what it likes: colours, bars, the prompt of a debugger."""
    with redirect_stdout(unescaped(sys.stdout)), redirect_stderr(unescaped(sys.stderr)):
        yield


def _printable(stream: TextIO | None) -> TextIO | None:
    if stream is None or isinstance(stream, PrintableStream):
        return stream
    return cast("TextIO", PrintableStream(stream))


# What pandas.read_csv takes for a missing value unless it is told otherwise.
MISSING = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"}
    | {"NULL", "NaN", "None", "n/a", "nan", "null"}
)


def lost_in_tables(name: str) -> str | None:
    """Why a plain pandas.read_csv may not give a name back, where that is so: it reads another value there."""
    if name in MISSING:
        return f"tables take the name {name!r} for a missing value"
    if name.lower() in ("true", "false"):
        return f"tables take the name {name!r} for a truth value"
    try:
        float(name)
    except ValueError:
        return None
    return f"tables take the name {name!r:.50} for a number"
