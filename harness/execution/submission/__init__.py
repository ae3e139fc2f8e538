"""Engines that queue workers: one small file each, and the table of those that `--executor` offers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.execution.submission.base import Submitter
from harness.execution.submission.dask import dask_submitter
from harness.execution.submission.option_file import read_table
from harness.execution.submission.slurm import slurm_submitter

SUBMITTERS: dict[str, Callable[[Mapping[str, Any]], Submitter]] = {
    "slurm": slurm_submitter,
    "dask": dask_submitter,
}


def open_submitter(name: str, file: Path | None, scheduler: str | None) -> Submitter:
    """The engine of that name, with the options of a file; UsageError where one of them is wrong."""
    table = {} if file is None else read_table(file)
    if scheduler is not None:
        table["scheduler"] = scheduler
    try:
        return SUBMITTERS[name](table)
    except UsageError as error:
        raise (error if file is None else UsageError(f"{file}: {error}")) from None
