"""The console that tables are printed on."""

import errno
from collections.abc import Iterable

import rich.console
from rich.table import Table


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
