"""What can go wrong, each with its exit code.

HarnessError
├── UsageError          2  a wrong command, option or value
│   ├── SuiteError      2  a wrong suite file
│   └── ModelError      2  a model file that can't be loaded: damaged, foreign, newer, or not safe
├── EmptySelection      3  the selection matched no trial
│   └── UnknownValue    2  it names a value that no trial has
├── MachineError        4  this machine can't do it: device, world size, disk, permissions
│   ├── BusyError       4  others are at work in the results folder
│   └── BuildError      4  the native library can't be built or loaded; training works without it
│       └── NoCompilerError  4  there is no C++ compiler
├── DamageError         4  a file on disk is not what was written
│   └── NewerSchemaError 4  a file of a newer version, which stays as it is
└── GateError           5  all went well, and a condition that --fail-if names is met

A trial that fails to train is a result and never raises.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")
MAX_ERROR_LINE = 500  # characters
FAULT = 70  # EX_SOFTWARE of sysexits.h: the exit code of what nobody has foreseen


class HarnessError(Exception):
    """Anything this project refuses: one line, and the exit code of the command."""

    exit_code = 1


class RunAborted(BaseException):
    """No error: the run ends at once, and everything that was saved stays."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


NO_ERRORS = (RunAborted, KeyboardInterrupt)  # what comes from outside, whoever's code it is raised in


class UsageError(HarnessError):
    """A wrong command, option or value."""

    exit_code = 2


class SuiteError(UsageError):
    """A suite that can't be run as it is written."""


class ModelError(UsageError):
    """A model file that can't be loaded: damaged, of something else, of a newer version, or not safe."""


class EmptySelection(HarnessError):
    """A selection that matches no trial of the suite."""

    exit_code = 3


class UnknownValue(EmptySelection):
    """A selection that names a value which no trial of the suite has."""

    exit_code = 2


class MachineError(HarnessError):
    """Something that this machine can't do."""

    exit_code = 4


class BusyError(MachineError):
    """Others are at work in the results folder."""


class BuildError(MachineError):
    """The native library can't be built or loaded; models then train in slower ways."""


class NoCompilerError(BuildError):
    """No C++ compiler that runs."""


class DamageError(HarnessError):
    """A file that is not what was written: truncated, changed or of something else."""

    exit_code = 4


class NewerSchemaError(DamageError):
    """A file of a newer version: whole, but not to be read, and never to be overwritten."""


class GateError(HarnessError):
    """A condition that `--fail-if` names is met; what was asked for is done."""

    exit_code = 5


def error_line(error: BaseException) -> str:
    """The error in one line, with its type; its own text may fail."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 (of an exception that somebody else has written)
        text = "(its text can't be made)"
    return " ".join(f"{type(error).__name__}: {text}".split())[:MAX_ERROR_LINE]


OTHER_NAMES = {  # what others call it, which no likeness of letters leads from -> its name here
    **dict.fromkeys(("learning_rate", "learning rate", "learning-rate", "eta"), "lr"),
    **dict.fromkeys(("bs", "minibatch_size"), "batch_size"),
    **dict.fromkeys(("normalization", "normalisation", "norm_layer"), "norm"),
    **dict.fromkeys(("random_state", "random_seed"), "seed"),
    **dict.fromkeys(("architecture", "arch", "network", "net"), "model"),
}


def nearest(name: str, names: Iterable[str]) -> str:
    """Say which names there are, the one that was probably meant first."""
    names = sorted(names)
    return f"{probably_meant(name, names)}choose from: {', '.join(names)}"


def probably_meant(name: str, names: Sequence[str]) -> str:
    """Ask for the one of these names that is like this one: "did you mean 'norm'? "; empty where none is."""
    meant = OTHER_NAMES.get(name.lower(), "")
    close = [meant] if meant in names else difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def name_is_taken(kind: str, name: str) -> SuiteError:
    """That something of a suite's own has the name of something that comes with this package."""
    return SuiteError(f"{kind} of the suite's own can't be called {name!r}: there is one already")


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return the entry called `name`, or say which names there are."""
    if name not in table:
        raise SuiteError(f"unknown {kind} {name!r}; {nearest(name, table)}")
    return table[name]
