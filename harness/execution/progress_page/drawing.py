"""The process that draws the page of a run under way, again and again until it is told to end or its run is gone."""

import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.execution.containment.keeper import end_with_parent

NICENESS = 10  # where training takes all cores, this takes a tenth of one
REST = 50  # seconds without drawing for each second of computing: drawing costs the machine 2 % of a core at most


def draw_until_told(parent: int, folder: Path, pause: float) -> None:
    """Draw the page of a results folder, with so many seconds between two drawings at least.

    A line of JSON on standard input says why the run was stopped: that page is the last. What can't be drawn is left as
    it was: nothing depends on this page.
    """
    end_with_parent(parent)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # a file that is being written is not left behind
    os.nice(NICENESS)
    # Loaded here, when this process can be ended already and gives way to others.
    from harness.reporting.upkeep.interim import InterimPage
    from harness.storage.records import ResultsDir

    page = InterimPage(ResultsDir(folder))
    message: dict[str, Any] | None = {}
    while message is not None:
        begun = time.process_time()
        with suppress(Exception):
            page.write(datetime.now(UTC), **message)
        if message:
            return
        message = _wait_for_message(max(pause, REST * (time.process_time() - begun)))


def _wait_for_message(seconds: float) -> dict[str, Any] | None:
    """What the run says of its end; empty where it has not ended after so many seconds, None where it is gone."""
    if not select.select([sys.stdin], [], [], seconds)[0]:
        return {}
    line = sys.stdin.readline()
    message: dict[str, Any] | None = json.loads(line) if line else None
    return message


if __name__ == "__main__":
    draw_until_told(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
