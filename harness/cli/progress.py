"""How a run shows where it is: live bars on a terminal, a line now and then in a pipe, or nothing."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from harness.execution.local import Event
from harness.trial import Trial

LINE_EVERY = 10.0  # seconds


class Tally:
    """How far every trial of a run is, counted by arm."""

    def __init__(self, trials: Sequence[Trial], compare: str) -> None:
        self.arm = {trial.key: str(getattr(trial, compare)) for trial in trials}
        self.done = dict.fromkeys(self.arm, 0.0)
        self.failed: set[str] = set()

    def add(self, event: Event) -> None:
        """Take in what has happened."""
        for key in event.keys:
            self.done[key] = event.done
        self.failed.update(event.failed)

    def arms(self) -> dict[str, tuple[float, int, int]]:
        """Per arm: trials' worth of work done, trials in all, trials that failed to train."""
        return {
            arm: self.of([key for key, its in self.arm.items() if its == arm])
            for arm in dict.fromkeys(self.arm.values())
        }

    def of(self, keys: Sequence[str]) -> tuple[float, int, int]:
        """The same for some trials."""
        return sum(self.done[key] for key in keys), len(keys), len(self.failed.intersection(keys))


class Display(Protocol):
    """Shows a tally, and lines beside it."""

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
        done, trials, failed = tally.of(list(tally.arm))
        left = (now - self.started) * (trials - done) / done if done else None
        ended = sum(share >= 1 for share in tally.done.values())
        print(
            f"{ended} of {trials} trials trained, {done / trials:.0%} of the work, {failed} failed to train, "
            f"{'time left unknown' if left is None else f'about {duration(left)} left'}",
            flush=True,
        )


class _Rich:
    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}

    def show(self, tally: Tally) -> None:
        for arm, (done, trials, failed) in tally.arms().items():
            if arm not in self.tasks:
                self.tasks[arm] = self.progress.add_task(arm, total=trials)
            self.progress.update(self.tasks[arm], completed=done, failed=f"{failed} failed to train" if failed else "")

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
            TextColumn("{task.completed:.0f} of {task.total:.0f} trials"),
            TextColumn("[red]{task.fields[failed]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        ]
        with Progress(*columns, console=console) as progress:
            yield _Rich(progress)
    else:
        yield _Silent() if kind == "none" else _Plain()


def duration(seconds: float) -> str:
    """A time as people say it: 45 s, 3 min, 2 h 10 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
