"""What every engine that queues workers offers: a suite in, jobs out. What a job runs is the plain command."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Workers to be queued for a suite, beside each other in its results folder. All paths are absolute."""

    suite: Path  # its file
    root: Path  # its results folder
    folder: Path  # where the command was typed, and where workers run
    count: int  # of jobs
    only: tuple[str, ...]  # rules that select trials
    arguments: tuple[str, ...]  # other options of the command, which every worker gets
    trials: Mapping[int, int]  # number of ranks -> how many of the selected trials train on so many

    def worker_arguments(self, *, workers: str = "auto", world_size: int | None = None) -> list[str]:
        """What follows `python -m harness` for a worker, for trials of all numbers of ranks or of one."""
        only = list(self.only)
        if world_size is not None and len(self.trials) > 1:
            only = [rule for rule in only if not rule.startswith("world_size=")] + [f"world_size={world_size}"]
        rules = [word for rule in only for word in ("--only", rule)]
        options = ["--results", str(self.root.parent), "--join", "--workers", workers, "--progress", "plain"]
        return ["run", str(self.suite), *options, *self.arguments, *rules]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What was queued."""

    jobs: tuple[str, ...]  # a line for each kind of job
    cancel: str  # the command that cancels all of them


class Submitter(Protocol):
    """Queues workers somewhere. A new one is a file in this folder and an entry in SUBMITTERS."""

    def check(self, submission: Submission) -> None:
        """Raise what `submit` would raise, as far as that can be known before anything is queued."""

    def submit(self, submission: Submission) -> Submitted:
        """Queue the workers and return; they run on without this process."""
