"""What the server that forks workers loads first: it ends with the process that started it, even while suspended."""

import os
import sys

from harness.execution.containment.keeper import end_with_parent

if any("multiprocessing.forkserver" in word for word in sys.orig_argv):  # no other process that imports this
    end_with_parent(os.getppid())
