"""The results as they were at each look at their verdicts, with the share of the level that was spent by then."""

from dataclasses import dataclass, replace

from harness.analysis.stats.looks import level_spent
from harness.spec.manifest import Manifest, seeds_of
from harness.storage.tables import Results


@dataclass(frozen=True, slots=True)
class Stage:
    """A look: with so many seeds, when so large a share of the level was spent."""

    seeds: int
    spent: float


def stages_of(manifest: Manifest) -> list[Stage]:
    """The looks that there have been, in their order; the last is the one at the results as they are.

    A look that was not planned has spent the whole level: it leaves to later ones what whole numbers of seeds can't
    spend. So does one with more seeds than the suite has by now.
    """
    n = len(seeds_of(manifest))
    shares = {look.seeds: _spent(look.seeds, look.max_seeds) for look in manifest.looks}
    shares.setdefault(n, _spent(n, manifest.max_seeds))
    stages, highest = [], max((share for seeds, share in shares.items() if seeds > n), default=0.0)
    for seeds in sorted(seeds for seeds in shares if seeds <= n):
        highest = max(highest, shares[seeds])
        stages.append(Stage(seeds, highest))
    return stages


def _spent(seeds: int, max_seeds: int) -> float:
    return level_spent(seeds, max_seeds) if max_seeds else 1.0


def at_look(results: Results, seeds: int) -> Results:
    """The results of the first so many seeds of the suite, as if it had no more."""
    manifest = results.manifest
    if seeds >= len(seeds_of(manifest)):
        return results
    first = list(seeds_of(manifest))[:seeds]
    column = manifest.points.get("seed", [])
    kept = [i for i, seed in enumerate(column) if seed in first]
    trials = results.trials[results.trials["seed"].isin(first)].reset_index(drop=True)
    then = replace(
        manifest,
        axes={**manifest.axes, "seed": first},
        trials=len(trials),
        points={name: [values[i] for i in kept] for name, values in manifest.points.items()} if column else {},
    )
    return replace(results, manifest=then, trials=trials)
