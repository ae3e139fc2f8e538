"""The command line: a verb and its options in, messages and an exit code out."""

import errno
import sys
from collections.abc import Sequence

from harness.cli.options import parse
from harness.cli.streams import discard, printable
from harness.errors import HarnessError, MachineError
from harness.execution.stop_flag import INTERRUPTED, RunAborted

PIPE_CLOSED = 128 + 13  # what a shell makes of SIGPIPE
READING = ("compare", "plan", "show", "status")  # verbs that have nothing left to do when nobody reads on


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; return the exit code."""
    verb = ""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        verb = options.verb
        exit_code: int = options.do(options)
        print(end="", flush=True)
        return exit_code
    except HarnessError as error:
        print(f"harness: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except RunAborted as aborted:
        print(f"harness: {aborted}", file=sys.stderr)
        return aborted.exit_code
    except KeyboardInterrupt:
        print("harness: stopped by Ctrl-C", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        discard(sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader of our output (`| head`) has seen enough
            return 0 if verb in READING else PIPE_CLOSED
        print(f"harness: can't write: {error.strerror}; make room", file=sys.stderr)
        return MachineError.exit_code
