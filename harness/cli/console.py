"""The console that tables are printed on."""

import errno
from collections.abc import Generator, Iterable

import rich.console
from rich.table import Table

from harness.cli.streams import printable


class Console(rich.console.Console):
    """A console that prints text as it stands, and leaves a broken pipe to `main`.

    A reader that has seen enough (`| head`) is no failure, and `harness[data]` in a cell is no markup.
    """

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError, as `print` does."""
        raise BrokenPipeError(errno.EPIPE, "the reader has gone away")


def print_findings(findings: Iterable[tuple[str, str, str]]) -> None:
    """Print what was found, and what to do about it, as a table."""
    table = Table("what", "found", "remedy")
    for finding in findings:
        table.add_row(*finding)
    Console().print(table)


def print_lines(lines: Generator[str, None, int]) -> int:
    """Print lines as they come; what they come to."""
    while True:
        try:
            line = next(lines)
        except StopIteration as end:
            exit_code: int = end.value
            return exit_code
        print(printable(line), flush=True)
