"""Where tables are shown."""

import errno

from rich.console import Console


class Screen(Console):
    """A console that leaves it to `main` what a reader that has gone away (`| head`) comes to: it is no failure."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError, as `print` does."""
        raise BrokenPipeError(errno.EPIPE, "the reader has gone away")
