"""Where tables are shown."""

import errno

import rich.console


class Console(rich.console.Console):
    """A console that leaves it to `main` what a reader that has gone away (`| head`) comes to: it is no failure."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError, as `print` does."""
        raise BrokenPipeError(errno.EPIPE, "the reader has gone away")
