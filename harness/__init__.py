"""A benchmarking harness for normalisation in neural networks."""

from typing import TYPE_CHECKING

from harness.claim import Claim
from harness.suite import Suite, log_grid

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Claim", "Suite", "log_grid", "results"]
__version__ = "0.1.0"


def results(folder: str) -> "pd.DataFrame":
    """One row per trial of a results folder: settings, outcomes, and what was measured of its run."""
    from harness.store import read_results  # pandas is not needed to write a suite

    found = read_results(folder)
    return found.trials.merge(found.telemetry, on="key", how="left", validate="one_to_one")
