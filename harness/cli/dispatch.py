"""A verb found and done, and what its errors come to."""

import errno
import sys
from collections.abc import Sequence

from harness.cli.hints import as_typed
from harness.cli.parser import parse
from harness.cli.streams import discard, print_error
from harness.errors import HarnessError, MachineError
from harness.execution.containment.machine_limits import require_address_space
from harness.execution.stop_flag import INTERRUPTED
from harness.fault_injection import arm

PIPE_CLOSED = 128 + 13  # what a shell makes of SIGPIPE
ADDRESS_SPACE_OF_TORCH = 1500  # MiB: 1,350 were not enough for its CPU build, 1,400 were
TRAINING = ("doctor", "evaluate", "export", "plan", "predict", "run")  # verbs that load torch
READING = ("compare", "plan", "show", "status")  # verbs that have nothing left to do when nobody reads on


def dispatch(arguments: Sequence[str] | None) -> int:
    """Do what the arguments say; return the exit code."""
    verb = ""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        verb = options.verb
        if verb in TRAINING:
            require_address_space(ADDRESS_SPACE_OF_TORCH)
        arm()
        exit_code: int = options.do(options)
        print(end="", flush=True)
        return exit_code
    except HarnessError as error:
        print_error(as_typed(str(error)))
        return error.exit_code
    except KeyboardInterrupt:
        print_error("stopped by Ctrl-C")
        return INTERRUPTED
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        discard(sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader of our output (`| head`) has seen enough
            return 0 if verb in READING else PIPE_CLOSED
        print_error(f"can't write: {error.strerror}; make room")
        return MachineError.exit_code
