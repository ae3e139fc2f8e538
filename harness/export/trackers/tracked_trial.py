"""A trial as an experiment tracker takes it: one run, with its settings, its curves and what it came to."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.spec.trial import Value
from harness.storage.records import NO_RESULT
from harness.storage.tables import Results, outcomes_of

UNSET = "not set"  # as reports print an arm that is no value


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedTrial:
    """One run of a tracker. Settings and outcomes are those of trials.csv that have a value there."""

    key: str
    arm: str  # such as "norm=batch"
    status: str
    settings: Mapping[str, Value]
    curves: Mapping[int, Mapping[str, float]]  # step, in their order -> "val/loss" -> value; NaN where not finite
    outcomes: Mapping[str, float | int]
    started: float  # seconds since 1970, 0 where nobody knows; the cohort of a trial starts and ends as one
    finished: float

    @property
    def has_result(self) -> bool:
        """Whether it was trained; that it then failed to train is a result."""
        return self.status not in NO_RESULT


def tracked_trials(results: Results, keys: Collection[str]) -> Iterator[TrackedTrial]:
    """The trials with these keys, in the order of trials.csv."""
    curves = dict(iter(results.curves.groupby("key", sort=False)))
    times = results.telemetry.set_index("key")[["started", "finished"]].apply(_seconds)
    of_outcomes = [column for column in outcomes_of(results.trials) if column != "status"]
    others = [column for column in results.trials if column not in ("suite", "key", "status", *of_outcomes)]
    compare = results.manifest.compare
    for row in results.trials[results.trials["key"].isin(set(keys))].to_dict("records"):
        key = row["key"]
        settings = _having_values(row, others)
        started, finished = times.loc[key] if key in times.index else (0.0, 0.0)
        yield TrackedTrial(
            key=key,
            arm=f"{compare}={settings.get(compare, UNSET)}",
            status=row["status"],
            settings=settings,
            curves=_by_step(curves[key]) if key in curves else {},
            outcomes=_having_values(row, of_outcomes),
            started=float(started),
            finished=float(finished),
        )


def _seconds(times: "pd.Series[Any]") -> "pd.Series[float]":
    moments = pd.to_datetime(times, utc=True, errors="coerce", format="ISO8601")
    return (moments - pd.Timestamp(0, tz="UTC")).dt.total_seconds().fillna(0.0)


def _having_values(row: Mapping[Any, Any], columns: Collection[Any]) -> dict[str, Any]:
    return {name: row[name] for name in columns if not pd.isna(row[name]) and row[name] != ""}


def _by_step(curves: pd.DataFrame) -> dict[int, dict[str, float]]:
    steps: dict[int, dict[str, float]] = {}
    columns = curves.sort_values("step", kind="stable")[["step", "split", "metric", "value"]]
    for step, split, metric, value in columns.itertuples(index=False):
        steps.setdefault(int(step), {})[f"{split}/{metric}"] = float(value)
    return steps
