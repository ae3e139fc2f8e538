"""When a run gets a page before its end, and the process that draws it, seen from the run.

A run that will be over within a minute gets none. Of runs that have joined each other one draws, and another goes on
with it when that one is gone. Whatever becomes of the page, the run goes on: its report is written at the end.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from harness.errors import HarnessError
from harness.execution.containment.safe_path import environment_with_package
from harness.execution.executors.base import Event
from harness.execution.run_plan import RunPlan
from harness.execution.stop_flag import StopFlag
from harness.reporting.upkeep.staleness import page_of
from harness.storage.claims import Claims
from harness.storage.records import ResultsDir
from harness.storage.running import find_runs

MIN_SECONDS = 60.0  # that training is expected to take in all
PAUSE_SECONDS = 60.0  # between two drawings, at least
LOOK_SECONDS = 5.0  # between two looks at whether a page is due
LAST_PAGE_SECONDS = 10.0  # that a run which was stopped waits for its page
END_SECONDS = 2.0  # that the process has to end when it is told to
CLAIM = "page"  # of the run that draws, where several have joined
PROGRAM = ("-P", "-m", "harness.execution.progress_page.drawing")


@dataclass(slots=True)
class PageProcess:
    """The process that draws the page of a run, once it is started."""

    results_dir: ResultsDir
    claims: Claims | None  # None where the run works alone
    command: str  # that was typed
    process: "subprocess.Popen[str] | None" = field(default=None, init=False)

    def start(self) -> bool:
        """Start it, unless another run draws the page; whether it was started."""
        if self.process is not None or not (self.claims is None or self.claims.take(CLAIM)):
            return False
        self.process = subprocess.Popen(
            [sys.executable, *PROGRAM, str(os.getpid()), str(self.results_dir.root.resolve()), str(PAUSE_SECONDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment_with_package(os.environ),
            start_new_session=True,  # Ctrl-C reaches the run alone, which decides
        )
        return True

    def draw_last(self, stop: StopFlag) -> None:
        """Let it say that the run was stopped, unless others are at work; RunAborted where `stop` has no patience."""
        if self.process is None or self.process.stdin is None:
            return
        is_shared = self.claims is not None and len(find_runs(self.results_dir)) > 1
        # Another --fresh would archive what was saved.
        again = shlex.join(word for word in shlex.split(self.command) if word != "--fresh")
        message = {"stopped": "" if is_shared else stop.reason, "command": again}
        with suppress(OSError):  # it is gone
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
        until = time.monotonic() + LAST_PAGE_SECONDS
        while self.process.poll() is None and time.monotonic() < until:
            stop()
            time.sleep(0.05)

    def close(self) -> None:
        """End it, at whatever it is, and let others draw."""
        if self.process is not None:
            with suppress(OSError):
                self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(END_SECONDS)
            with suppress(OSError):
                self.process.kill()
            self.process.wait()
            if self.process.stdin is not None:
                with suppress(OSError):
                    self.process.stdin.close()
        if self.claims is not None and CLAIM in self.claims.names:
            self.claims.release(CLAIM)


def with_page(events: Iterable[Event], plan: RunPlan, page: PageProcess, stop: StopFlag) -> Iterator[Event]:
    """What happens while a plan is trained; beside it, its page is kept up to date where training takes long."""
    begun = looked_at = time.monotonic()
    done = {trial.key: 0.0 for cohort in plan.pending for trial in cohort.trials}
    has_ended, is_due = plan.ended > 0, True
    try:
        for event in events:
            yield event
            done.update(dict.fromkeys(event.keys, event.done))
            has_ended = has_ended or event.done >= 1.0
            now = time.monotonic()
            if not (is_due and has_ended and now - looked_at >= LOOK_SECONDS):
                continue
            looked_at = now
            share = sum(done.values()) / len(done)
            if share and (now - begun) / share > MIN_SECONDS:
                try:
                    page_of(page.results_dir.root)
                    is_due = not page.start()
                except (OSError, HarnessError):  # no folder, no process, no claim: no page
                    is_due = False
        if stop():
            page.draw_last(stop)
    finally:
        page.close()
