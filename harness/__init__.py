"""A benchmarking harness for normalisation in neural networks."""

from typing import TYPE_CHECKING, Any

from harness._version import __version__ as __version__
from harness.spec.claim import Claim
from harness.spec.suite import Suite, log_grid
from harness.spec.theory import batch_norm_gradient_growth

if TYPE_CHECKING:
    import pandas as pd

    from harness.export.load import load_checkpoint, load_model

__all__ = [
    "Claim",
    "Suite",
    "batch_norm_gradient_growth",
    "load_checkpoint",
    "load_model",
    "log_grid",
    "results",
]


def results(folder: str) -> "pd.DataFrame":
    """One row per trial of a results folder: settings, outcomes, and what was measured of its run."""
    from harness.storage.tables import read_results  # pandas is not needed to write a suite

    found = read_results(folder)
    return found.trials.merge(found.telemetry, on="key", how="left", validate="one_to_one")


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is asked for."""
    if name in ("load_model", "load_checkpoint"):
        from harness.export import load

        return getattr(load, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
