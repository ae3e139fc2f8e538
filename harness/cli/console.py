"""The console that tables and bars are printed on."""

import errno
import sys
from collections.abc import Generator, Iterable
from typing import Any

import rich.console
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from harness.text import LINES, printable, unescaped


class Console(rich.console.Console):
    """A console that prints text as it stands, as far as it can be seen, and leaves a broken pipe to `main`.

    A reader that has seen enough (`| head`) is no failure, and `harness[data]` in a cell is no markup. Colours and bars
    are sequences of controls too: so text is escaped here, before they are added, and not by the stream.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        stream = unescaped(sys.stderr if stderr else sys.stdout)
        super().__init__(file=stream, stderr=stderr, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """The text, escaped before it is measured."""
        return super().render_str(printable(text, keep=LINES), **options)

    def render(
        self, renderable: rich.console.RenderableType, options: rich.console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """What is printed, piece by piece; pieces that move the cursor are of rich, and others are text."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                style = segment.style.update_link(None) if segment.style and segment.style.link else segment.style
                yield Segment(printable(segment.text, keep=LINES), style)

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
