"""Where cohorts train: one small file per executor, and the table of those that `--executor` offers."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from harness.errors import UsageError
from harness.execution.executors.base import Executor
from harness.execution.executors.in_process import in_process_executor
from harness.execution.executors.pool import pool_executor
from harness.execution.executors.torchrun import torchrun_executor
from harness.execution.run_plan import RunOptions
from harness.execution.torchrun import torchrun_process

EXECUTORS: dict[str, Callable[[RunOptions, Callable[[], bool]], AbstractContextManager[Executor]]] = {
    "local": lambda options, stop: pool_executor(options.workers, options.device, stop),
    "in-process": lambda options, stop: in_process_executor(stop),
}


@contextmanager
def open_executor(options: RunOptions, stop: Callable[[], bool]) -> Iterator[Executor]:
    """The executor that the options name; under torchrun, the processes that it started."""
    process = torchrun_process()
    if process is not None and options.executor != "local":
        raise UsageError(f"torchrun starts the processes that train; leave --executor {options.executor} out")
    opened = (
        EXECUTORS[options.executor](options, stop) if process is None else torchrun_executor(process.world_size, stop)
    )
    with opened as executor:
        yield executor
