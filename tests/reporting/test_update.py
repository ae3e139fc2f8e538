"""When a report is made anew, and what is loaded for it."""

import subprocess
import sys

LOADING = """
import sys, threading
from harness.reporting.upkeep.update import start_loading
assert "harness.reporting.report" not in sys.modules
for _ in range(3):
    start_loading()
assert threading.active_count() <= 2
for thread in threading.enumerate()[1:]:
    thread.join()
assert "harness.reporting.report" in sys.modules
"""


def test_what_draws_is_loaded_in_one_thread_however_often_it_is_asked_for():
    subprocess.run([sys.executable, "-c", LOADING], check=True)
