"""What may be said of SLURM's jobs in the file of `--executor-options`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError
from harness.execution.submission.option_file import options_from, require_integer, require_lines

# sbatch reads its lines by rules of its own: quotes, backslashes, blanks and # mean something there.
WORD = r"[!$-&(-\[\]-~]+"
TIME = r"\d+|\d+:\d\d(:\d\d)?|\d+-\d+(:\d\d){0,2}"
TEXTS = {  # option -> what it may be, an example
    "partition": (WORD, "gpu"),
    "account": (WORD, "normalisation"),
    "qos": (WORD, "long"),
    "constraint": (WORD, "a100|h100"),
    "gres": (WORD, "gpu:1"),
    "mem": (r"\d+[KMGT]?", "16G"),
    "time": (TIME, "04:00:00"),
}
OURS = {  # options of sbatch that the script relies on -> what sets them
    "--array": "--workers",
    "--chdir": "the results folder",
    "--cpus-per-task": "cpus_per_task",
    "--dependency": "the script",
    "--error": "the results folder",
    "--job-name": "the suite",
    "--nodes": "nodes",
    "--ntasks": "the script",
    "--ntasks-per-node": "the script",
    "--open-mode": "the script",
    "--output": "the results folder",
    "--parsable": "the script",
    "--signal": "warning",
    "--time": "time",
    "--wrap": "the script",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmOptions:
    """What a job asks for. None: what the cluster gives to a job that doesn't say."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gres: str | None = None
    mem: str | None = None
    time: str | None = None
    cpus_per_task: int = 1  # cores of a job, and so how many processes train in it
    nodes: int = 1  # of a job for trials of several ranks
    sbatch: tuple[str, ...] = ()  # any other option of sbatch, as "--exclude=node7"
    setup: tuple[str, ...] = ()  # commands of the shell before the worker, as "module load cuda"
    warning: int = 120  # seconds before the time limit at which a worker is told to save
    max_successors: int = 20  # jobs that go on in turn where one job's time is too short

    def __post_init__(self) -> None:
        for name, (pattern, example) in TEXTS.items():
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII)):
                raise UsageError(f'{name} must be a text such as "{example}", got {value!r:.200}')
        require_integer("cpus_per_task", self.cpus_per_task, 1, 1024)
        require_integer("nodes", self.nodes, 1, 1024)
        require_integer("warning", self.warning, 1, 65535)
        require_integer("max_successors", self.max_successors, 0, 1000)
        require_lines("setup", self.setup)
        require_lines("sbatch", self.sbatch)
        for option in self.sbatch:
            name = option.partition("=")[0]
            if not re.fullmatch(f"--[a-z][a-z-]*(={WORD})?", option, re.ASCII):
                raise UsageError(f'sbatch must list options such as "--exclude=node7", got {option!r:.200}')
            if name in OURS:
                raise UsageError(f"sbatch can't have {name}: {OURS[name]} says it")
        if self.time is not None and time_limit_seconds(self.time) <= self.warning:
            raise UsageError(
                f"time {self.time} is over at once: a worker is told to save {self.warning} s before its end; "
                "ask for more time, or for a later `warning`"
            )

    @property
    def has_gpus(self) -> bool:
        """Whether a job asks for GPUs, as far as can be told: workers then share these, not the cores."""
        return any("gpu" in option for option in (self.gres or "", *self.sbatch))


def time_limit_seconds(text: str) -> int:
    """The seconds of a time limit as SLURM writes it: minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S."""
    days, dash, rest = text.rpartition("-")
    numbers = [int(number) for number in rest.split(":")]
    if dash:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    else:
        hours, minutes, seconds = ((0, *numbers, 0), (0, *numbers), numbers)[len(numbers) - 1]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def slurm_options(table: Mapping[str, Any]) -> tuple[SlurmOptions, SlurmOptions]:
    """The options of plain workers, and those of jobs for several ranks: the same, but for a table [ranks]."""
    rest = dict(table)
    ranks = rest.pop("ranks", {})
    if not isinstance(ranks, dict):
        raise UsageError(f"ranks must be a table of options, got {ranks!r:.200}")
    return options_from(SlurmOptions, rest), options_from(SlurmOptions, rest | ranks)
