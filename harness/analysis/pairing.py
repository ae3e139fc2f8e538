"""The grid of a suite as the report walks it: arms, points, pairs. Nothing here pools over an axis."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis import formatting
from harness.analysis.measures.measure import Measure
from harness.analysis.metrics import FAILED, FINISHED, metrics_of, trial_scores
from harness.analysis.stats import with_failures
from harness.analysis.stats.arrays import FloatArray
from harness.errors import DamageError
from harness.spec.claim import Claim, as_list
from harness.spec.manifest import Manifest
from harness.storage.bits import equal_to_the_bit
from harness.storage.tables import AXES_IN_FACTS, Results, outcomes_of

Point = dict[str, Any]  # axis -> value

OTHER = " of the other"  # end of a column's name

# Axes that say how a trial is computed and not what is learnt: along them, equal results are a finding.
COMPUTE_AXES = frozenset(
    ("accumulation_steps", "compile", "device", "max_cohort_size", "memory_format", "sync_bn_impl", "threads")
) | {"world_size"}


def arms(manifest: Manifest) -> list[Any]:
    """The values of the compared axis, in the order of the suite."""
    return values(manifest, manifest.compare)


def values(manifest: Manifest, axis: str) -> list[Any]:
    """The values that an axis has in this suite; one where it doesn't vary."""
    return list(manifest.axes.get(axis, [manifest.settings.get(axis)]))


def axes(manifest: Manifest, *without: str) -> list[str]:
    """The axes that make up a grid point: all but the compared one, the seed and those named."""
    return [axis for axis in manifest.axes if axis not in (manifest.compare, "seed", *without)]


def as_planned(results: Results) -> Results:
    """The results as the claims of the suite speak of them.

    Axes are as the suite sets them: `norm_batch`, of which the table has what follows from the batch where it is not
    set, is not set there. An arm at which the compared axis is not set has a name: nothing equals what is missing.
    """
    results = replace(results, trials=_with_planned_axes(results.trials, results.manifest))
    manifest, compare = results.manifest, results.manifest.compare
    if None not in arms(manifest):
        return results

    def named(arm: Any) -> Any:
        return formatting.value(None) if arm is None else arm

    def with_named_arms(claim: Claim) -> Claim:
        against = {axis: named(value) if axis == compare else value for axis, value in claim.against.items()}
        return replace(claim, arm=named(claim.arm), than=named(claim.than), against=against)

    claims = [replace(declared, claim=with_named_arms(declared.claim)) for declared in manifest.claims]
    axes = {**manifest.axes, compare: [named(arm) for arm in arms(manifest)]}
    points = {axis: [*map(named, column)] if axis == compare else column for axis, column in manifest.points.items()}
    return replace(
        results,
        manifest=replace(manifest, claims=claims, axes=axes, points=points),
        trials=results.trials.assign(**{compare: results.trials[compare].astype(object).fillna(named(None))}),
    )


def _with_planned_axes(trials: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """The trials, of which the manifest lists the settings in the order of the table's index."""
    planned = {
        axis: pd.Series(list(manifest.points[axis]), dtype=trials[axis].dtype)
        for axis in AXES_IN_FACTS
        if axis in manifest.axes and axis in manifest.points
    }
    return trials.assign(**{axis: column.reindex(trials.index) for axis, column in planned.items()})


def matching(trials: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    """The trials at the grid points that `where` keeps: a value or a list of values per axis."""
    for axis, wanted in where.items():
        values = as_list(wanted)
        # Columns of numbers have NaN for what is not set, which is not in a list that has None.
        trials = trials[trials[axis].isin(values) | (trials[axis].isna() & (None in values))]
    return trials


def by_point(rows: pd.DataFrame, axes: Sequence[str]) -> Iterator[tuple[Point, pd.DataFrame]]:
    """The rows of each grid point, in the order of the suite; one point without a name where there are no axes."""
    if not axes:
        yield {}, rows
        return
    for setting, group in rows.groupby(list(axes), dropna=False, sort=False):
        yield {axis: _to_python(value) for axis, value in zip(axes, setting, strict=True)}, group


def _to_python(value: Any) -> Any:
    """The value as Python has it, None where it is missing."""
    return None if pd.isna(value) else getattr(value, "item", lambda: value)()


def arms_are_equal(results: Results, arm: Any, than: Any, where: Mapping[str, Any], against: Mapping[str, Any]) -> bool:
    """Whether every trial of an arm equals that of the other to the bit, at all points and seeds that both have.

    The points are those that `where` keeps; the other arm's differ in `against`, as in `pairs_of`.
    """
    manifest, trials = results.manifest, results.trials
    columns = [axis for axis in (*axes(manifest), "seed") if axis not in against]
    trained = trials[trials["status"].isin(FINISHED)]
    sides = [
        matching(trained[trained[manifest.compare] == value], points)
        for value, points in ((arm, where), (than, {**where, **against}))
    ]
    both = sides[0].merge(sides[1], on=columns, suffixes=("", OTHER))
    learnt = learnt_columns(trials)
    other = both[[f"{name}{OTHER}" for name in ("key", *learnt)]].set_axis(["key", *learnt], axis=1)
    return not both.empty and bool(equal_to_the_bit(both, other, results.curves, results.curves, learnt).all())


def learnt_columns(trials: pd.DataFrame) -> list[str]:
    """The columns of what training came to, whatever was trained."""
    return [column for column in outcomes_of(trials) if column != "parameters"]


def equal_arms(results: Results) -> list[list[Any]]:
    """Groups of arms whose trials are equal to the bit, at all points and seeds that they have in common."""
    groups: list[list[Any]] = []
    for arm in arms(results.manifest):
        alike = [group for group in groups if arms_are_equal(results, group[0], arm, {}, {})]
        if alike:
            alike[0].append(arm)
        else:
            groups.append([arm])
    return [group for group in groups if len(group) > 1]


def score_units(trials: pd.DataFrame, metric: Measure) -> pd.DataFrame:
    """The trials, each a unit of comparison: its score, whether it failed, whether it has a result."""
    return trials.assign(
        score=trial_scores(trials, metric),
        failed=trials["status"].isin(FAILED).astype(int),
        finished=trials["status"].isin(FINISHED).astype(int),
        trials=1,
    )


def pairing_columns(units: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """The units with no other columns than pairing needs: taking rows of a hundred columns is slow."""
    columns = (manifest.compare, "seed", *axes(manifest), "score", "failed", "finished", "trials")
    return units[[*dict.fromkeys(columns)]]


@dataclass(frozen=True, slots=True)
class ArmSample:
    """One arm at one grid point: the units that are paired, and counts over all its trials there."""

    units: pd.DataFrame  # indexed by seed
    failed: int
    finished: int
    trials: int
    units_are_trials: bool  # trials that share a seed, as units of several do, are no sample to estimate a rate from

    @property
    def scores(self) -> FloatArray:
        return self.units["score"].to_numpy("float64")

    @property
    def measured(self) -> FloatArray:
        """The scores as they were measured, before those of failed trials are replaced; as scored where none are."""
        return self.units["measured" if "measured" in self.units else "score"].to_numpy("float64")

    @property
    def failures(self) -> FloatArray:
        """How many trials of each unit failed to train."""
        return self.units["failed"].to_numpy("float64")

    @property
    def has_failed(self) -> NDArray[np.bool_]:
        """Which units failed to train; none of units of several trials, some of which may have."""
        return np.asarray((self.failures == 1) & self.units_are_trials)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Two arms at one grid point: entry i of both samples comes from the same seed."""

    arm: Any
    than: Any
    metric: Measure
    point: Point
    ours: ArmSample
    theirs: ArmSample
    n_unpaired: int  # scores without a partner, excluded
    n_missing: int = 0  # results that have no score, which a verdict can't go without
    n_absent: int = 0  # seeds of the suite that are no pair, since an arm has no result there

    @property
    def differences(self) -> FloatArray:
        """Per seed by how much `arm` does better than `than`."""
        return self.metric.sign * (self.ours.scores - self.theirs.scores)

    @property
    def failed(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which runs of either arm failed to train; none where a failure is no worse than another run."""
        return tuple(sample.has_failed & (self.metric.failed != 0) for sample in (self.ours, self.theirs))  # type: ignore[return-value]

    @property
    def ranked(self) -> FloatArray:
        """The differences as tests of signs take them: a run that failed is the worse of its pair."""
        ours, theirs = self.failed if self.metric.failed < 0 else self.failed[::-1]
        return with_failures(self.differences, ours, theirs)

    def swapped(self) -> "Pairs":
        """The same pairs, the other arm first."""
        return replace(self, arm=self.than, than=self.arm, ours=self.theirs, theirs=self.ours)

    def of_seeds(self, seeds: pd.Index) -> "Pairs":
        """The pairs of these seeds; the others count as unpaired."""
        excluded = len(self.ours.units) - len(seeds)
        ours, theirs = (replace(sample, units=sample.units.loc[seeds]) for sample in (self.ours, self.theirs))
        unpaired, absent = self.n_unpaired + 2 * excluded, self.n_absent + excluded
        return replace(self, ours=ours, theirs=theirs, n_unpaired=unpaired, n_absent=absent)


def metric_pairs(trials: pd.DataFrame, manifest: Manifest, arm: Any, than: Any, metric: str) -> list[Pairs]:
    """Two arms' trials, paired by seed at every grid point that both arms have in the suite."""
    scored_by = metrics_of(manifest)[metric]
    units = score_units(trials, scored_by)
    return pairs_of(units, manifest, axes(manifest), arm=arm, than=than, metric=scored_by)


def pairs_of(
    units: pd.DataFrame,
    manifest: Manifest,
    axes: Sequence[str],
    *,
    arm: Any,
    than: Any,
    metric: Measure,
    against: Mapping[str, Any] | None = None,
) -> list[Pairs]:
    """Units of two arms, paired by seed at every grid point of these axes that both have.

    The other arm is at the same point except for the axes in `against`; a point is not compared with itself.
    """
    arm_column, pairs = units[manifest.compare], []
    theirs_at = {tuple(point.items()): rows for point, rows in by_point(units[arm_column == than], axes)}
    for point, ours in by_point(units[arm_column == arm], axes):
        other_point = {**point, **(against or {})}
        theirs = theirs_at.get(tuple(other_point.items()))
        if ours.empty or theirs is None or theirs.empty or (other_point == point and arm == than):
            continue
        pairs.append(paired(by_seed(ours), by_seed(theirs), arm=arm, than=than, metric=metric, point=point))
    return pairs


def paired(ours: pd.DataFrame, theirs: pd.DataFrame, *, arm: Any, than: Any, metric: Measure, point: Point) -> Pairs:
    """Units by seed, those kept that have a score in both arms."""
    scored = [units.index[units["score"].notna()] for units in (ours, theirs)]
    both = scored[0].intersection(scored[1]).sort_values()
    unscored = [(units["finished"] == units["trials"]) & units["score"].isna() for units in (ours, theirs)]
    return Pairs(
        arm=arm,
        than=than,
        metric=metric,
        point=point,
        ours=_arm_sample(ours, both),
        theirs=_arm_sample(theirs, both),
        n_unpaired=len(scored[0]) + len(scored[1]) - 2 * len(both),
        n_missing=sum(int(missing.sum()) for missing in unscored),
        n_absent=len(ours.index.union(theirs.index)) - len(both),
    )


def _arm_sample(units: pd.DataFrame, seeds: pd.Index) -> ArmSample:
    failed, finished, trials = (int(units[name].sum()) for name in ("failed", "finished", "trials"))
    units_are_trials = bool((units["trials"] <= 1).all())
    return ArmSample(units.loc[seeds], failed, finished, trials, units_are_trials)


def by_seed(units: pd.DataFrame) -> pd.DataFrame:
    """The units by their seed."""
    check_unique(units, "seed")
    return units.set_index("seed")


def check_unique(units: pd.DataFrame, *columns: str) -> None:
    """Raise DamageError where a seed stands twice: then the table is of another grid than suite.json."""
    duplicated = units.duplicated(list(columns))
    if duplicated.any():
        raise DamageError(
            f"trials.csv has two trials of seed {units.loc[duplicated, 'seed'].iloc[0]} at one grid point; an axis is "
            "missing in suite.json"
        )
