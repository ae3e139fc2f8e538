"""Standard streams that can be written to wherever the program is started."""

import errno
import io
import json
import os
import sys
from codecs import lookup
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, TextIO

from harness.text import printable

MAX_LINE = 2000  # letters of a message that a stranger may have lengthened


def prepare_streams() -> None:
    """Open what is closed, escape what can't be encoded, and survive a terminal that goes away."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # a daemon closed it; the next file to be opened would take its number
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout = _prepared(sys.stdout, 1)
    sys.stderr = _prepared(sys.stderr, 2)


def _prepared(stream: TextIO | None, number: int) -> TextIO:
    # Letters of other encodings are read as UTF-8 by most that read a log, and don't say that they are none.
    encoding = "utf-8" if stream is None or lookup(stream.encoding).name == "utf-8" else "ascii"
    buffer = io.BufferedWriter(_Descriptor(number, "w", closefd=False))
    is_unbuffered = bool(getattr(stream, "write_through", False))  # python -u
    is_line_buffered = stream is None or number == 2 or os.isatty(number) or is_unbuffered
    return io.TextIOWrapper(buffer, encoding=encoding, errors="backslashreplace", line_buffering=is_line_buffered)


class _Descriptor(io.FileIO):
    """A standard stream. What is written to a terminal that is gone is lost; the run that writes it goes on."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            discard(self.fileno())
            return len(data)


def discard(number: int) -> None:
    """Let everything that is written to a stream from now on go nowhere."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, number)
    os.close(sink)


def print_error(text: str) -> None:
    """Print what went wrong, in one line, as far as anybody can be told."""
    with suppress(OSError, ValueError):
        print(f"harness: {printable(' '.join(text.split()))}"[:MAX_LINE], file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print a value as JSON, in ASCII letters that can be seen."""
    print(json.dumps(value, allow_nan=False).replace("\x7f", "\\u007f"))


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to stderr what suites, and the processes that they start, print: stdout is read by programs."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
