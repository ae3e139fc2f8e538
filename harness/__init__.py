"""A benchmarking harness for normalisation in neural networks."""

import sys

if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    # `python -m harness` puts the current folder first, where a file called random.py would stand in for Python's own.
    sys.path.append(sys.path.pop(0))

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pandas as pd

    from harness._version import __version__ as __version__
    from harness.api.results import Results, figures, load
    from harness.api.run import run
    from harness.data.streamed import Streamed
    from harness.export.load import load_checkpoint, load_model
    from harness.spec.claim import Claim
    from harness.spec.grids.log_grid import log_grid
    from harness.spec.metric import Metric
    from harness.spec.own_training.command import command
    from harness.spec.suite import Suite
    from harness.spec.theory import batch_norm_gradient_growth

__all__ = [
    "Claim",
    "Metric",
    "Results",
    "Streamed",
    "Suite",
    "batch_norm_gradient_growth",
    "command",
    "figures",
    "load",
    "load_checkpoint",
    "load_model",
    "log_grid",
    "results",
    "run",
]
HOMES = {  # name -> the module that it is loaded from when it is asked for
    "__version__": "harness._version",
    "Claim": "harness.spec.claim",
    "Metric": "harness.spec.metric",
    "Results": "harness.api.results",
    "Streamed": "harness.data.streamed",
    "Suite": "harness.spec.suite",
    "batch_norm_gradient_growth": "harness.spec.theory",
    "command": "harness.spec.own_training.command",
    "figures": "harness.api.results",
    "load": "harness.api.results",
    "load_checkpoint": "harness.export.load",
    "load_model": "harness.export.load",
    "log_grid": "harness.spec.grids.log_grid",
    "run": "harness.api.run",
}


def results(folder: str) -> "pd.DataFrame":
    """One row per trial of a results folder: settings, outcomes, and what was measured of its run."""
    from harness.storage.tables import read_results  # pandas is not needed to write a suite

    found = read_results(folder)
    return found.trials.merge(found.telemetry, on="key", how="left", validate="one_to_one")


def __getattr__(name: str) -> object:
    """What the package offers, loaded when it is asked for: some of it needs torch, and programs start at once."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
