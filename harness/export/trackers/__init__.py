"""Where results go when people already look at their runs elsewhere: a file for each experiment tracker.

A tracker's module has one function, `write(suite, trials, output)`, and loads the tracker's package as it is imported.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import MachineError, lookup

if TYPE_CHECKING:  # it loads pandas, and every command line reads the names of trackers
    from harness.export.trackers.tracked_trial import TrackedTrial


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a tracker has now: how many runs were written, how many of these in place of earlier ones, and where."""

    n_runs: int
    n_replaced: int
    place: str
    look: str  # what to type to look at them


Write = Callable[[str, Iterable["TrackedTrial"], Path | None], Written]
TRACKERS = {  # name -> its module; an extra of the package is called like each
    "tensorboard": "harness.export.trackers.tensorboard",
    "mlflow": "harness.export.trackers.mlflow",
    "wandb": "harness.export.trackers.wandb",
}


def load_tracker(name: str) -> Write:
    """The function that writes runs for this tracker; MachineError where its package is not installed."""
    module = lookup(TRACKERS, name, "tracker")
    try:
        write: Write = import_module(module).write
    except ModuleNotFoundError as error:
        package = (error.name or name).partition(".")[0]
        raise MachineError(
            f"{name} needs the package {package!r}; install it with: pip install 'harness[{name}]'"
        ) from error
    return write
