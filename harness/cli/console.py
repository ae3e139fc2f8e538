"""The console that tables are printed on."""

import errno

import rich.console


class Console(rich.console.Console):
    """A console that leaves a broken pipe to `main`: a reader that has seen enough (`| head`) is no failure."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError, as `print` does."""
        raise BrokenPipeError(errno.EPIPE, "the reader has gone away")
