"""What the server that forks workers loads first: it ends with the process that started it, even while suspended.

Then it loads what workers need, as far as it can: what is missing each worker tells for itself.
"""

import os
import sys
from contextlib import suppress
from importlib import import_module

from harness.execution.containment.keeper import end_with_parent

SUPERVISOR = "HARNESS_SUPERVISOR"  # the variable that holds the number of the process that starts the server

if any("multiprocessing.forkserver" in word for word in sys.orig_argv):  # no other process that imports this
    # A parent that was killed while Python was starting here is no parent any more: then this ends at once.
    end_with_parent(int(os.environ.get(SUPERVISOR, os.getppid())))
    with suppress(Exception):
        import_module("harness.execution.worker")
