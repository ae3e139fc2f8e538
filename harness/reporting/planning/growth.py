"""What a grid of learning rates that grows may come to: a line that `plan` prints."""

from collections.abc import Iterator
from dataclasses import replace

from harness.analysis import formatting
from harness.analysis.looking.growth import growth_words, has_ended
from harness.spec.loader import SuiteFile
from harness.spec.manifest import Manifest, measured_of
from harness.storage.records import ResultsDir
from harness.storage.tables import read_trials


def most_trials(suite: SuiteFile) -> int:
    """How many trials the suite has at most, once its grid has grown as far as it may."""
    growth = suite.suite.growth
    if growth is None:
        return sum(1 for _ in suite.trials(device="cpu"))
    return sum(1 for _ in replace(suite, lrs=(*growth.below, *growth.above)).trials(device="cpu"))


def growth_lines(suite: SuiteFile, manifest: Manifest, results_dir: ResultsDir) -> Iterator[str]:
    """How far the grid has grown, where there are results, and how far it may."""
    growth = manifest.growth
    if growth is None or suite.suite.growth is None:
        return
    if (results_dir.root / "trials.csv").exists():
        trials = read_trials(results_dir.root, measured_of(manifest))
        yield growth_words(trials, manifest)
        if has_ended(trials, manifest):
            return
    low, high = growth.ends
    values = suite.suite.growth.with_added(growth.added)
    most = suite.suite.growth.with_added((*suite.suite.growth.below, *suite.suite.growth.above))
    if len(values) < len(most):
        yield (
            f"the grid of learning rates, now {low:g}..{high:g} ({len(values)}), may grow to "
            f"{growth.lowest:g}..{growth.highest:g} ({len(most)}), by as much as it takes to see both edges of usable "
            f"ranges: {formatting.count(most_trials(suite), 'trial')} at most"
        )
