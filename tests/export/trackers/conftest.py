"""A few trials of results that ship, as trackers take them, and what the tables say of them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from harness.export.trackers.tracked_trial import TrackedTrial, tracked_trials
from harness.storage.tables import Results, read_results

FOLDER = Path(__file__).parents[3] / "results/reference/lr_sweep"
SUITE = "lr_sweep"
Points = dict[tuple[str, int], float]  # name of a curve, step -> value


@pytest.fixture(scope="session")
def results() -> Results:
    return read_results(FOLDER)


@pytest.fixture(scope="session")
def keys(results) -> list[str]:
    """Of both arms one that trained, and one that did not stay finite."""
    trials = results.trials
    rows = [trials[(trials["norm"] == "batch") & (trials["status"] == "ok")], trials[trials["status"] == "nonfinite"]]
    return [row["key"].iloc[0] for row in rows]


@pytest.fixture
def trials(results, keys) -> list[TrackedTrial]:
    return list(tracked_trials(results, keys))


@pytest.fixture
def crashed(trials) -> TrackedTrial:
    """One without a result, with a name that not every tracker takes."""
    curves = {3: {"log/f(x) @ 1": 0.5, "log/f[x] @ 1": math.inf}}
    return replace(
        trials[0], key="00000000000000aa", status="crashed", curves=curves, outcomes={}, started=0.0, finished=0.0
    )


@pytest.fixture(scope="session")
def points(keys) -> Mapping[str, Points]:
    """Key -> its curves, as the file has them."""
    table = pd.read_parquet(FOLDER / "curves.parquet")
    curves: dict[str, Points] = {key: {} for key in keys}
    for row in table[table["key"].isin(keys)].itertuples():
        curves[row.key][f"{row.split}/{row.metric}", row.step] = row.value
    return curves


@pytest.fixture
def assert_same():
    """Hold numbers by name to others: the same names, the same bits, and NaN where there is NaN."""

    def hold(seen: Mapping, expected: Mapping) -> None:
        assert seen.keys() == expected.keys()
        assert [name for name in seen if repr(float(seen[name])) != repr(float(expected[name]))] == []

    return hold


@pytest.fixture
def replaced():
    """The trials with another value at the first step of their first curve."""

    def change(trials: Iterable[TrackedTrial]) -> list[TrackedTrial]:
        changed = []
        for trial in trials:
            (step, values), *others = trial.curves.items()
            name = next(iter(values))
            changed.append(replace(trial, curves={step: {**values, name: -1.5}, **dict(others)}))
        return changed

    return change
