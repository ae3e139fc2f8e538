"""Scores of two arms along an axis: what a slope or a choice of the best value is made from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from harness.analysis import pairing
from harness.analysis.measures.measure import Measure
from harness.analysis.metrics import metrics_of, trial_scores
from harness.analysis.stats.arrays import FloatArray
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Two arms over the values of one axis, at one grid point without it; row i of all arrays is the same seed."""

    pairs: pairing.Pairs  # of seeds that have all values in both arms; they have no scores yet
    x: FloatArray  # the values that both arms have
    ours: list[FloatArray]  # [seed, x] for each metric
    theirs: list[FloatArray]
    same_grid: bool  # whether both arms have the same values

    def with_scores(self, ours: FloatArray, theirs: FloatArray, metric: Measure) -> pairing.Pairs:
        """The pairs with one score per seed and arm."""
        samples = zip((self.pairs.ours, self.pairs.theirs), (ours, theirs), strict=True)
        scored = [replace(sample, units=sample.units.assign(score=score)) for sample, score in samples]
        return replace(self.pairs, ours=scored[0], theirs=scored[1], metric=metric)


def sweeps(trials: pd.DataFrame, manifest: Manifest, claim: Claim, names: Sequence[str]) -> Iterator[Sweep]:
    """The scores of both arms of a claim along its axis, at each grid point without it, in each of these metrics."""
    metrics = [metrics_of(manifest)[name] for name in names]
    units = pairing.pairing_columns(pairing.score_units(trials, metrics[0]), manifest)
    units = units.assign(**{f"score {i}": trial_scores(trials, metric) for i, metric in enumerate(metrics)})
    columns = [f"score {i}" for i in range(len(metrics))]
    for point, at_point in pairing.by_point(units, pairing.axes(manifest, claim.along)):
        of_arms = [at_point[at_point[manifest.compare] == arm] for arm in (claim.arm, claim.than)]
        values = [set(rows[claim.along].dropna()) for rows in of_arms]
        if not (shared := sorted(values[0] & values[1])):
            continue
        of_arms = [rows[rows[claim.along].isin(shared)] for rows in of_arms]
        for rows in of_arms:
            pairing.check_unique(rows, "seed", claim.along)
        ours, theirs = (_units_by_seed(rows, columns, len(shared)) for rows in of_arms)
        pairs = pairing.paired(ours, theirs, arm=claim.arm, than=claim.than, metric=metrics[0], point=point)
        arrays = [
            [
                rows.pivot(index="seed", columns=claim.along, values=column)
                .reindex(index=pairs.ours.units.index, columns=shared)
                .to_numpy("float64")
                for column in columns
            ]
            for rows in of_arms
        ]
        yield Sweep(
            pairs=pairs,
            x=np.array(shared, dtype=float),
            ours=arrays[0],
            theirs=arrays[1],
            same_grid=values[0] == values[1],
        )


def _units_by_seed(rows: pd.DataFrame, columns: list[str], n_values: int) -> pd.DataFrame:
    """One unit per seed: the counts of its trials, and whether it has all scores, as a score of 0 or NaN."""
    by_seed = rows.assign(scored=rows[columns].notna().all(axis=1)).groupby("seed")
    units = by_seed[["failed", "finished", "trials", "scored"]].sum()
    return units.assign(score=np.where(units["scored"] == n_values, 0.0, np.nan))
