"""Dask: the same worker as many times as asked for, each a task that starts the plain command and waits for it."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from uuid import uuid4

from harness._version import __version__
from harness.errors import MachineError, UsageError
from harness.execution.submission.base import Submission, Submitted
from harness.execution.submission.dask_task import find_obstacle, run_worker
from harness.execution.submission.option_file import options_from, require_integer

FOLDER = "dask"  # in the results of a suite: logs
CONNECT_TIMEOUT = 10  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class DaskOptions:
    """Where tasks are sent, and what they need."""

    scheduler: str | None = None  # its address
    retries: int = 3  # of a task whose worker was killed
    resources: dict[str, float] = field(default_factory=dict)  # of a Dask worker that a task takes up

    def __post_init__(self) -> None:
        if not isinstance(self.scheduler, str):
            raise UsageError(f"--executor dask needs --scheduler tcp://HOST:8786, got {self.scheduler!r:.200}")
        require_integer("retries", self.retries, 0, 1000)
        amounts = self.resources.values() if isinstance(self.resources, dict) else [None]
        if not all(type(amount) in (int, float) and amount > 0 for amount in amounts):
            raise UsageError(f"resources must be a table of positive numbers, got {self.resources!r:.200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DaskSubmitter:
    """Sends tasks to a scheduler."""

    options: DaskOptions

    def check(self, submission: Submission) -> None:
        paths = [str(submission.suite), str(submission.folder)]
        with self._client() as client:
            try:
                obstacles: dict[str, str] = client.run(find_obstacle, __version__, paths)
            except Exception as error:  # whatever goes wrong when a worker looks for the function
                reason = f"{type(error).__name__}: {error}"
                raise MachineError(f"Dask workers of {self.options.scheduler} can't use harness: {reason}") from error
        for worker, obstacle in obstacles.items():
            if obstacle:
                raise MachineError(f"the Dask worker {worker} can't train: {obstacle}")

    def submit(self, submission: Submission) -> Submitted:
        fire_and_forget = _distributed().fire_and_forget
        name = f"harness-{submission.root.name}-{uuid4().hex[:8]}"
        arguments, folder = submission.worker_arguments(workers="1"), submission.root / FOLDER
        with self._client() as client:
            for number in range(submission.count):
                future = client.submit(
                    run_worker,
                    arguments,
                    str(submission.folder),
                    str(folder / f"worker-{number}.log"),
                    key=f"{name}-{number}",
                    pure=False,
                    retries=self.options.retries,
                    resources=self.options.resources or None,
                )
                fire_and_forget(future)  # without it, tasks end with this client
        restart = f"from distributed import Client; Client({self.options.scheduler!r}).restart()"
        return Submitted(
            jobs=(f"{submission.count} tasks {name}-*; their logs: {folder}",),
            cancel=shlex.join(["python", "-c", restart]),
        )

    @contextmanager
    def _client(self) -> Iterator[Any]:
        try:
            client = _distributed().Client(self.options.scheduler, timeout=CONNECT_TIMEOUT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise MachineError(f"there is no Dask scheduler at {self.options.scheduler}: {error}") from error
        with client:
            yield client


def _distributed() -> Any:
    """Dask's own module, which is no part of a plain installation."""
    try:
        return import_module("distributed")
    except ImportError as error:
        raise MachineError("--executor dask needs Dask; install it with: pip install 'harness[dask]'") from error


def dask_submitter(table: Mapping[str, Any]) -> DaskSubmitter:
    """Dask, with the options of a file."""
    return DaskSubmitter(options=options_from(DaskOptions, table))
