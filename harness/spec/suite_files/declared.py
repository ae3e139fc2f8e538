"""Suites that stand in no file of their own: declared in a notebook or a script, and written to one that workers read.

It holds the suite with its functions as cloudpickle writes them: what was written in the notebook, and the local
modules that it uses, go along by value. Reading one runs the code in it, as reading a suite's own file does.
"""

import pickle
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import NO_ERRORS, SuiteError, error_line
from harness.io import write_atomically
from harness.spec.own_code.data_files import is_data_file
from harness.spec.own_code.live_sources import live_sources
from harness.spec.own_code.sources import Parts
from harness.spec.own_training.command import file_parts
from harness.spec.suite import Suite

SUFFIX = ".suite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A suite as it is written down."""

    suite: Suite
    question: str
    parts: Mapping[str, Parts]  # function of the suite -> what it is made from


def write_declared(suite: Suite, question: str, path: Path) -> None:
    """Write a suite to a file that `load_suite` reads; SuiteError where something in it can't be written down."""
    sources = {name: live_sources(name, function) for name, function in suite.functions.items()}
    datasets = [value for grid in suite.grids for value in grid["dataset"]] if not suite.is_own else []
    for dataset in datasets:
        if dataset not in suite.functions and is_data_file(str(dataset)):
            raise SuiteError(
                f"dataset {dataset!r} would be a file beside the suite, which has none: give a function that loads it"
            )
    import cloudpickle  # where it is needed alone

    parts = {name: {**of_one.parts, **file_parts(suite.functions[name])} for name, of_one in sources.items()}
    declared = Declared(suite=suite, question=question, parts=parts)
    try:
        with _by_value({module for of_one in sources.values() for module in of_one.modules}):
            data = cloudpickle.dumps(declared)
    except Exception as error:  # objects may refuse in any way
        raise SuiteError(f"the suite can't be sent to workers: {error_line(error)}; write it to a file") from error
    write_atomically(path, data)


def read_declared(path: Path) -> Declared:
    """What `write_declared` has written to a file."""
    try:
        declared = pickle.loads(path.read_bytes())  # noqa: S301 (a suite is a program)
    except NO_ERRORS:
        raise
    except Exception as error:
        raise SuiteError(f"{path}: can't be read: {error_line(error)}; declare the suite again") from error
    if not isinstance(declared, Declared):
        raise SuiteError(f"{path}: holds no suite; declare it again")
    return declared


@contextmanager
def _by_value(modules: set[str]) -> Iterator[None]:
    """Let what stands in these modules be written down whole, not by the name of its module."""
    import cloudpickle

    registered = [sys.modules[name] for name in sorted(modules)]
    for module in registered:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)
