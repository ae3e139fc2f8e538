"""`python -m harness`, and the console script `harness`."""

import os
import signal
import sys
from typing import NoReturn

from harness.cli import main
from harness.cli.streams import prepare_streams


def run_and_exit() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    prepare_streams()
    os.environ["MPLBACKEND"] = "agg"  # figures are drawn into files; notebooks export a backend of their own
    exit_code = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done; a late Ctrl-C would replace the exit code
    sys.exit(exit_code)


if __name__ == "__main__":
    run_and_exit()
