"""Scores of a seed that several of its trials make up: a slope along an axis, a test score at a chosen value."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis import pairing, stats
from harness.analysis.metrics import METRICS, scores
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest
from harness.storage.tables import Results

Array = NDArray[np.float64]
CHOSEN_BY = {"test_accuracy": "val_accuracy", "test_loss": "val_loss"}  # what the best value is chosen by


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Two arms over the values of one axis, at one grid point without it; row i of all arrays is the same seed."""

    pairs: pairing.Pairs  # of seeds that have all values in both arms; their scores are yet to be made
    x: Array  # the values that both arms have
    ours: list[Array]  # [seed, x] for each metric
    theirs: list[Array]
    same_grid: bool  # whether both arms have the same values

    def scored(self, ours: Array, theirs: Array, metric: str) -> pairing.Pairs:
        """The pairs with one score per seed and arm."""
        sides = zip((self.pairs.ours, self.pairs.theirs), (ours, theirs), strict=True)
        scored = [replace(side, units=side.units.assign(score=score)) for side, score in sides]
        return replace(self.pairs, ours=scored[0], theirs=scored[1], metric=metric)


def sweeps(trials: pd.DataFrame, manifest: Manifest, claim: Claim, metrics: Sequence[str]) -> Iterator[Sweep]:
    """The scores of both arms of a claim along its axis, at each grid point without it."""
    units = pairing.slim(pairing.score_units(trials, metrics[0]), manifest)
    units = units.assign(**{f"score {i}": scores(trials, metric) for i, metric in enumerate(metrics)})
    columns = [f"score {i}" for i in range(len(metrics))]
    for point, here in pairing.by_point(units, pairing.axes(manifest, claim.along)):
        sides = [here[here[manifest.compare] == arm] for arm in (claim.arm, claim.than)]
        values = [set(side[claim.along].dropna()) for side in sides]
        if not (shared := sorted(values[0] & values[1])):
            continue
        rows = [side[side[claim.along].isin(shared)] for side in sides]
        for side in rows:
            pairing.refuse_duplicates(side, "seed", claim.along)
        ours, theirs = (_by_seed(side, columns, len(shared)) for side in rows)
        pairs = pairing.paired(ours, theirs, (claim.arm, claim.than, metrics[0]), point)
        arrays = [
            [
                side.pivot(index="seed", columns=claim.along, values=column)
                .reindex(index=pairs.ours.units.index, columns=shared)
                .to_numpy("float64")
                for column in columns
            ]
            for side in rows
        ]
        yield Sweep(
            pairs=pairs,
            x=np.array(shared, dtype=float),
            ours=arrays[0],
            theirs=arrays[1],
            same_grid=values[0] == values[1],
        )


def _by_seed(rows: pd.DataFrame, columns: list[str], values: int) -> pd.DataFrame:
    """One unit per seed: the counts of its trials, and whether it has all scores, as a score of 0 or none."""
    by_seed = rows.assign(scored=rows[columns].notna().all(axis=1)).groupby("seed")
    units = by_seed[["failed", "finished", "trials", "scored"]].sum()
    return units.assign(score=np.where(units["scored"] == values, 0.0, np.nan))


def trends(trials: pd.DataFrame, manifest: Manifest, claim: Claim) -> Iterator[tuple[pairing.Pairs, float]]:
    """Pairs of slopes over log2 of the claim's axis, with the p of Page's test that the lead grows along it."""
    sign = METRICS[claim.metric].sign
    for block in sweeps(pairing.matching(trials, claim.where), manifest, claim, [claim.metric]):
        x, (ours,), (theirs,) = np.log2(block.x), block.ours, block.theirs
        metric = f"{claim.metric} per doubling of {claim.along}"
        pairs = block.scored(stats.slopes(x, ours), stats.slopes(x, theirs), metric)
        yield pairs, stats.page_trend(sign * (ours - theirs))


def tuned(
    results: Results, claim: Claim, rng: np.random.Generator
) -> Iterator[tuple[pairing.Pairs, stats.Interval, str]]:
    """Pairs of cross-fitted scores, the interval of their mean difference, and what the difference is a bound of."""
    trials = pairing.matching(results.trials, claim.where)
    sign = METRICS[claim.metric].sign
    for block in sweeps(trials, results.manifest, claim, [CHOSEN_BY[claim.metric], claim.metric]):
        ours, theirs = ((sign * validation, sign * test) for validation, test in (block.ours, block.theirs))
        metric = f"{claim.metric} at the best {claim.along}"
        if len(block.pairs.ours.scores) < 2:
            few = np.full(len(block.pairs.ours.scores), np.nan)
            yield block.scored(few, few, metric), stats.Interval(np.nan, np.nan, np.nan), "exact"
            continue
        bound = pairing.BOUNDS[_at_end(ours[0]), _at_end(theirs[0])] if block.same_grid else "unknown"
        scored = block.scored(sign * stats.cross_fitted(*ours), sign * stats.cross_fitted(*theirs), metric)
        yield scored, stats.tuned_difference(ours, theirs, rng), bound


def _at_end(validation: Array) -> bool:
    """Whether a seed's choice is the first or the last value, beyond which a better one may lie."""
    return bool({0, validation.shape[1] - 1} & set(stats.chosen_lrs(validation)))
