"""How the progress of a run is shown: live bars on a terminal, a line now and then in a pipe, or nothing."""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from harness.cli.console import Console
from harness.execution.executors.base import Event
from harness.execution.runner import RunEvent, RunResult, TrainingStarted
from harness.spec.own_training.own_trial import AnyTrial
from harness.text import printable

LINE_EVERY = 10.0  # seconds


def progress_of(options: argparse.Namespace) -> str:
    """How progress is shown: bars that are drawn again and again would cover the prompt of a debugger."""
    return "plain" if (options.executor, options.progress) == ("in-process", "auto") else str(options.progress)


def show_progress(events: Iterator[RunEvent], kind: str) -> RunResult:
    """Show what happens in a run as it happens; return how it ended. Notes are shown once."""
    tally, shown = None, set[str]()
    with ExitStack() as stack:
        for event in events:
            match event:
                case TrainingStarted():
                    screen = stack.enter_context(display(kind))
                    tally = Tally([trial for cohort in event.plan.pending for trial in cohort.trials], event.compare)
                case RunResult():
                    return event
                case Event() if tally is None:  # nothing is training yet
                    print(printable(event.note))
                    continue
                case Event():
                    tally.add(event)
                    if event.note and event.note not in shown:
                        screen.note(printable(event.note))
                        shown.add(event.note)
            screen.show(tally)
    raise AssertionError("a run ends with its result")


@dataclass(frozen=True, slots=True)
class Count:
    """How far some trials are."""

    work: float  # trials' worth of it
    ended: int
    trials: int
    failed: int  # to train, so far


class Tally:
    """How far every trial of a run is, counted by arm."""

    def __init__(self, trials: Sequence[AnyTrial], compare: str) -> None:
        self.arm = {trial.key: str(getattr(trial, compare)) for trial in trials}
        self.done = dict.fromkeys(self.arm, 0.0)
        self.failed: set[str] = set()

    def add(self, event: Event) -> None:
        """Take an event into account."""
        for key in event.keys:
            self.done[key] = event.done
        self.failed.update(event.failed)

    def by_arm(self) -> dict[str, Count]:
        """How far each arm is."""
        arms = dict.fromkeys(self.arm.values())
        return {arm: self._count([key for key in self.arm if self.arm[key] == arm]) for arm in arms}

    def total(self) -> Count:
        """How far all trials are together."""
        return self._count(list(self.arm))

    def _count(self, keys: Sequence[str]) -> Count:
        done = [self.done[key] for key in keys]
        return Count(sum(done), sum(share >= 1 for share in done), len(keys), len(self.failed.intersection(keys)))


class Display(Protocol):
    """Shows a tally, and notes beside it."""

    def show(self, tally: Tally) -> None: ...

    def note(self, text: str) -> None: ...


class _Silent:
    def show(self, tally: Tally) -> None:
        pass

    def note(self, text: str) -> None:
        print(text, file=sys.stderr)


class _Plain(_Silent):
    def __init__(self) -> None:
        self.started = self.last = time.monotonic()

    def show(self, tally: Tally) -> None:
        now = time.monotonic()
        if now - self.last < LINE_EVERY:
            return
        self.last = now
        total = tally.total()
        share = total.work / total.trials
        left = f"about {duration((now - self.started) * (1 - share) / share)} left" if share else "time left unknown"
        print(
            f"{total.ended} of {total.trials} trials trained, {share:.0%} of the work, "
            f"{total.failed} failed to train, {left}",
            flush=True,
        )


class _Rich:
    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}

    def show(self, tally: Tally) -> None:
        for arm, count in tally.by_arm().items():
            if arm not in self.tasks:
                self.tasks[arm] = self.progress.add_task(arm, total=count.trials, ended=0, failed="")
            failed = f"{count.failed} failed to train" if count.failed else ""
            self.progress.update(self.tasks[arm], completed=count.work, ended=count.ended, failed=failed)

    def note(self, text: str) -> None:
        self.progress.console.print(text, markup=False, highlight=False)


@contextmanager
def display(kind: str) -> Iterator[Display]:
    """The display of that kind; "auto" is rich on a terminal and plain elsewhere."""
    console = Console(stderr=True)
    if kind == "rich" or (kind == "auto" and sys.stdout.isatty()):
        columns = [
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[ended]} of {task.total:.0f} trials"),
            TextColumn("[red]{task.fields[failed]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        ]
        with Progress(*columns, console=console) as progress:
            yield _Rich(progress)
    else:
        yield _Silent() if kind == "none" else _Plain()


def duration(seconds: float) -> str:
    """A time for people: 45 s, 3 min, 2 h 10 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
