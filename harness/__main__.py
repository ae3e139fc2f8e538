"""`python -m harness`."""

import signal
import sys

from harness.cli import main

if __name__ == "__main__":
    exit_code = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said; one Ctrl-C too many would take the exit code with it
    sys.exit(exit_code)
