"""The grid of a suite as the report walks it: arms, points, pairs. Nothing here pools over an axis."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis import formatting
from harness.analysis.metrics import FAILED, FINISHED, METRICS, scores
from harness.analysis.stats import UsableRange, lr_sensitivity, usable_range
from harness.errors import DamageError
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest
from harness.storage.tables import Results

Point = dict[str, Any]  # axis -> value
Array = NDArray[np.float64]
BOUNDS = {  # whether what is beyond the grid may favour (us, them) further -> what the difference is a bound of
    (False, False): "exact",
    (True, False): "at least",
    (False, True): "at most",
    (True, True): "unknown",
}


def arms(manifest: Manifest) -> list[Any]:
    """The values of the compared axis, in the order of the suite."""
    return values(manifest, manifest.compare)


def values(manifest: Manifest, axis: str) -> list[Any]:
    """The values that an axis has in this suite; one where it doesn't vary."""
    return list(manifest.axes.get(axis, [manifest.settings.get(axis)]))


def axes(manifest: Manifest, *without: str) -> list[str]:
    """The axes that make up a grid point: all but the compared one, the seed and those named."""
    return [axis for axis in manifest.axes if axis not in (manifest.compare, "seed", *without)]


def named_arms(results: Results) -> Results:
    """The results with a name for the arm at which the compared axis is not set: nothing equals what is missing."""
    manifest, compare = results.manifest, results.manifest.compare
    if None not in arms(manifest):
        return results

    def named(arm: Any) -> Any:
        return formatting.value(None) if arm is None else arm

    def with_named_arms(claim: Claim) -> Claim:
        against = {axis: named(value) if axis == compare else value for axis, value in claim.against.items()}
        return replace(claim, arm=named(claim.arm), than=named(claim.than), against=against)

    claims = [replace(declared, claim=with_named_arms(declared.claim)) for declared in manifest.claims]
    axis = [named(arm) for arm in arms(manifest)]
    column = results.trials[compare].astype(object)
    return replace(
        results,
        manifest=replace(manifest, claims=claims, axes={**manifest.axes, compare: axis}),
        trials=results.trials.assign(**{compare: column.where(column.notna(), formatting.value(None))}),
    )


def matching(trials: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    """The trials at the grid points that `where` keeps: a value or a list of values per axis."""
    for axis, wanted in where.items():
        values = list(wanted) if isinstance(wanted, list | tuple) else [wanted]
        # Columns of numbers have NaN for what is not set, which is not in a list that has None.
        trials = trials[trials[axis].isin(values) | (trials[axis].isna() & (None in values))]
    return trials


def by_point(rows: pd.DataFrame, over: Sequence[str]) -> Iterator[tuple[Point, pd.DataFrame]]:
    """The rows of each grid point, in the order of the suite; one nameless point where `over` is empty."""
    if not over:
        yield {}, rows
        return
    for setting, group in rows.groupby(list(over), dropna=False, sort=False):
        yield {axis: _plain(value) for axis, value in zip(over, setting, strict=True)}, group


def _plain(value: Any) -> Any:
    """The value as Python has it, None where it is missing."""
    return None if pd.isna(value) else getattr(value, "item", lambda: value)()


def score_units(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The trials, each a unit of comparison: its score, whether it failed, whether it has a result."""
    return trials.assign(
        score=scores(trials, metric),
        failed=trials["status"].isin(FAILED).astype(int),
        finished=trials["status"].isin(FINISHED).astype(int),
        trials=1,
    )


def slim(units: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """The units with no other columns than pairing needs: taking rows of a hundred columns is slow."""
    columns = (manifest.compare, "seed", *axes(manifest), "score", "failed", "finished", "trials")
    return units[[*dict.fromkeys(columns)]]


def range_units(trials: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """One row per arm, seed and grid point: the usable lr range, its decades being the score.

    A seed has a score once all its learning rates have results: half a grid would look like a short range.
    """
    over = [*axes(manifest, "lr"), manifest.compare, "seed"]
    target = manifest.target_accuracy
    assert target is not None, "a claim on a range is refused where the suite has no target"
    found = [{**point, **_range(rows, target)} for point, rows in by_point(_accuracy(trials), over)]
    return pd.DataFrame(found)


def _accuracy(trials: pd.DataFrame) -> pd.DataFrame:
    return score_units(trials, "test_accuracy")


def _range(rows: pd.DataFrame, target: float) -> dict[str, Any]:
    counts = {name: int(rows[name].sum()) for name in ("failed", "finished", "trials")}
    lrs = rows["lr"].to_numpy("float64")
    if rows["score"].isna().any():
        found = UsableRange(np.nan, np.nan, np.nan, low_seen=True, high_seen=True)
    else:
        found = usable_range(lrs, rows["score"].to_numpy("float64"), target)
    return {
        **counts,
        "score": found.decades,
        "low": found.low,
        "high": found.high,
        "low_seen": found.low_seen,
        "high_seen": found.high_seen,
        "sensitivity": _sensitivity(rows),
    }


def _sensitivity(rows: pd.DataFrame) -> float:
    """The LR sensitivity in test loss of one seed; NaN until all its learning rates have results."""
    losses = scores(rows, "test_loss")
    return (
        float("nan")
        if losses.isna().any()
        else lr_sensitivity(np.asarray(losses, dtype=np.float64), rows["initial_loss"].mean())
    )


@dataclass(frozen=True, slots=True)
class ArmSample:
    """One arm at one grid point: the units that are paired, and counts over all its trials there."""

    units: pd.DataFrame  # indexed by seed
    failed: int
    finished: int
    trials: int
    one_each: bool  # whether a unit is one trial: trials that share a seed are no sample to estimate a rate from

    @property
    def scores(self) -> Array:
        return self.units["score"].to_numpy("float64")

    @property
    def failures(self) -> Array:
        """How many trials of each unit failed to train."""
        return self.units["failed"].to_numpy("float64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Two arms at one grid point: entry i of both sides comes from the same seed."""

    arm: Any
    than: Any
    metric: str
    point: Point
    ours: ArmSample
    theirs: ArmSample
    n_unpaired: int  # scores without a partner, left out
    n_missing: int = 0  # results that have no score, which a verdict can't go without

    @property
    def differences(self) -> Array:
        """Per seed by how much `arm` does better than `than`."""
        return METRICS[self.metric].sign * (self.ours.scores - self.theirs.scores)

    def swapped(self) -> "Pairs":
        """The same pairs, the other arm first."""
        return replace(self, arm=self.than, than=self.arm, ours=self.theirs, theirs=self.ours)

    def of_seeds(self, seeds: pd.Index) -> "Pairs":
        """The pairs of these seeds; the others count as left out."""
        left_out = 2 * (len(self.ours.units) - len(seeds))
        ours, theirs = (replace(side, units=side.units.loc[seeds]) for side in (self.ours, self.theirs))
        return replace(self, ours=ours, theirs=theirs, n_unpaired=self.n_unpaired + left_out)


def metric_pairs(trials: pd.DataFrame, manifest: Manifest, arm: Any, than: Any, metric: str) -> list[Pairs]:
    """Two arms' trials, paired by seed at every grid point that both arms have in the suite."""
    return pairs_of(score_units(trials, metric), manifest, axes(manifest), (arm, than, metric))


def cost_pairs(results: Results, trials: pd.DataFrame, arm: Any, than: Any) -> list[Pairs]:
    """Two arms' step times, as -log of milliseconds, paired by seed.

    Trials that trained together share their time. They are one measurement and not several: one pair of them is kept.
    """
    times = results.telemetry.set_index("key")["step_ms"].astype("float64")
    units = score_units(trials, "test_loss").assign(score=-np.log(trials["key"].map(times)))
    found = pairs_of(units, results.manifest, axes(results.manifest), (arm, than, "step_time"))
    return [_apart(pairs) for pairs in found]


def _apart(pairs: Pairs) -> Pairs:
    """The pairs without those of which either side was measured together with one before."""
    both = pd.DataFrame({"ours": pairs.ours.scores, "theirs": pairs.theirs.scores})
    first = ~(both["ours"].duplicated() | both["theirs"].duplicated()).to_numpy()
    ours, theirs = (replace(side, units=side.units[first]) for side in (pairs.ours, pairs.theirs))
    return replace(pairs, ours=ours, theirs=theirs)


def range_pairs(ranges: pd.DataFrame, manifest: Manifest, arm: Any, than: Any) -> list[Pairs]:
    """Two arms' usable ranges of lr, paired by seed at every grid point but for lr."""
    return pairs_of(ranges, manifest, axes(manifest, "lr"), (arm, than, "lr_decades"))


def sensitivity_pairs(ranges: pd.DataFrame, manifest: Manifest, arm: Any, than: Any) -> list[Pairs]:
    """Two arms' sensitivities to lr, from `range_units`, paired by seed at every grid point but for lr."""
    units = ranges.assign(score=ranges["sensitivity"])
    return pairs_of(units, manifest, axes(manifest, "lr"), (arm, than, "lr_sensitivity"))


def pairs_of(
    units: pd.DataFrame,
    manifest: Manifest,
    over: Sequence[str],
    of: tuple[Any, Any, str],
    against: Mapping[str, Any] | None = None,
) -> list[Pairs]:
    """Units of two arms (arm, than, metric), paired by seed at every grid point that both have.

    The other arm stands at the same point, but for the axes `against`; a point is not compared with itself.
    """
    arm, than, _ = of
    compared, found = units[manifest.compare], []
    theirs_at = {tuple(point.items()): here for point, here in by_point(units[compared == than], over)}
    for point, here in by_point(units[compared == arm], over):
        there = {**point, **(against or {})}
        theirs = theirs_at.get(tuple(there.items()))
        if here.empty or theirs is None or theirs.empty or (there == point and arm == than):
            continue
        found.append(paired(by_seed(here), by_seed(theirs), of, point))
    return found


def paired(ours: pd.DataFrame, theirs: pd.DataFrame, of: tuple[Any, Any, str], point: Point) -> Pairs:
    """Units by seed, those kept that have a score in both arms."""
    arm, than, metric = of
    scored = [side.index[side["score"].notna()] for side in (ours, theirs)]
    both = scored[0].intersection(scored[1]).sort_values()
    unscored = [(side["finished"] == side["trials"]) & side["score"].isna() for side in (ours, theirs)]
    return Pairs(
        arm=arm,
        than=than,
        metric=metric,
        point=point,
        ours=_side(ours, both),
        theirs=_side(theirs, both),
        n_unpaired=len(scored[0]) + len(scored[1]) - 2 * len(both),
        n_missing=sum(int(missing.sum()) for missing in unscored),
    )


def _side(units: pd.DataFrame, paired: pd.Index) -> ArmSample:
    failed, finished, trials = (int(units[name].sum()) for name in ("failed", "finished", "trials"))
    return ArmSample(units.loc[paired], failed, finished, trials, one_each=bool((units["trials"] <= 1).all()))


def by_seed(units: pd.DataFrame) -> pd.DataFrame:
    """The units by their seed."""
    refuse_duplicates(units, "seed")
    return units.set_index("seed")


def refuse_duplicates(units: pd.DataFrame, *by: str) -> None:
    """Raise DamageError where a seed stands twice: then the table is of another grid than suite.json."""
    twice = units.duplicated(list(by))
    if twice.any():
        raise DamageError(
            f"trials.csv has two trials of seed {units.loc[twice, 'seed'].iloc[0]} at one grid point; an axis is "
            "missing in suite.json"
        )
