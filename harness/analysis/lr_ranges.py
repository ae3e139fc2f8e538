"""Over which learning rates each arm and seed trains, and how much the choice of one matters."""

from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.metrics import judged_by, metrics_of, trial_scores
from harness.analysis.pairing import axes, by_point, score_units
from harness.analysis.stats import UsableRange, lr_sensitivity, usable_range
from harness.analysis.stats.arrays import FloatArray
from harness.spec.manifest import Manifest, is_own, measured_of
from harness.spec.measured import Target


def range_units(trials: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """One row per arm, seed and grid point: the usable lr range, its decades being the score.

    A seed has a score once all its learning rates have results: half a grid would look like a short range.
    """
    over = [*axes(manifest, "lr"), manifest.compare, "seed"]
    target = measured_of(manifest).target
    assert target is not None, "a claim on a range is refused where the suite has no target"
    units = score_units(trials, judged_by(manifest))
    # Own training need have no loss.
    units = units.assign(loss=np.nan if is_own(manifest) else trial_scores(trials, metrics_of(manifest)["test_loss"]))
    return pd.DataFrame([{**point, **_range_of_seed(rows, target)} for point, rows in by_point(units, over)])


def range_at_target(lrs: FloatArray, scores: FloatArray, target: Target) -> UsableRange:
    """Where these scores are as good as the target, whichever way is good."""
    sign = 1 if target.spec.higher_is_better else -1
    return usable_range(lrs, sign * scores, sign * target.value)


def _range_of_seed(rows: pd.DataFrame, target: Target) -> dict[str, Any]:
    if rows["score"].isna().any():
        usable = UsableRange(np.nan, np.nan, np.nan, low_seen=True, high_seen=True)
    else:
        usable = range_at_target(rows["lr"].to_numpy("float64"), rows["score"].to_numpy("float64"), target)
    return {
        **{name: int(rows[name].sum()) for name in ("failed", "finished", "trials")},
        "score": usable.decades,
        "low": usable.low,
        "high": usable.high,
        "low_seen": usable.low_seen,
        "high_seen": usable.high_seen,
        "sensitivity": _sensitivity(rows),
    }


def _sensitivity(rows: pd.DataFrame) -> float:
    """The LR sensitivity in test loss of one seed; NaN until all its learning rates have results."""
    losses = rows["loss"]
    if losses.isna().any():
        return float("nan")
    return lr_sensitivity(np.asarray(losses, dtype=np.float64), rows["initial_loss"].mean())
