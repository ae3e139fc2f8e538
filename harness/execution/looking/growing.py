"""A run whose grid of learning rates grows until both edges of the usable ranges are seen, before any verdict is.

What has been added is in suite.json, and follows from the results alone: a run that was killed comes to the same grid.
"""

from collections.abc import Generator, Iterable
from dataclasses import replace

from harness.analysis.looking.growth import open_ends
from harness.errors import UsageError
from harness.execution.executors.base import Event, Executor
from harness.execution.run_plan import RunOptions
from harness.execution.runner import RunEvent, RunResult, run_suite
from harness.execution.stop_flag import StopFlag
from harness.spec.grids.log_grid import Growth
from harness.spec.loader import SuiteFile
from harness.spec.manifest import measured_of
from harness.storage.lock import lock_results
from harness.storage.records import ResultsDir, read_manifest, write_manifest
from harness.storage.tables import read_trials


def check_growing(suites: Iterable[SuiteFile], options: RunOptions, *, is_queued: bool) -> None:
    """UsageError where a grid may grow and a part of it alone is run: growth is decided by the trials of all arms."""
    parts = {"--only": options.only, "--shard": options.shard, "--join": options.join, "--executor": is_queued}
    flags = [flag for flag, is_given in parts.items() if is_given]
    for suite in suites:
        if suite.suite.growth is not None and flags:
            raise UsageError(f"the lr grid of {suite.name} grows by what all its trials come to; leave {flags[0]} out")


def run_growing(suite: SuiteFile, options: RunOptions, executor: Executor, stop: StopFlag) -> Generator[RunEvent]:
    """Run the suite; where its grid may grow, first without a report, again and again with more learning rates.

    Yields what the runs yield, of their results only the last.
    """
    growth, results_dir = suite.suite.growth, ResultsDir(options.results / suite.name)
    while growth is not None:
        for event in run_suite(suite, replace(options, with_report=False), executor, stop):
            if not isinstance(event, RunResult):
                yield event
            elif stop():
                yield event
                return
        options = replace(options, fresh=False, retry=frozenset())
        note = _add_lrs(results_dir, growth)
        if not note:
            break
        yield Event(note=note)
    yield from run_suite(suite, options, executor, stop)


def _add_lrs(results_dir: ResultsDir, growth: Growth) -> str:
    """Record the learning rates beyond the ends of the grid that are still usable; what was done, "" at the end.

    Once verdicts have been looked at, the grid stays as it is.
    """
    with lock_results(results_dir, is_shared=False):
        manifest = read_manifest(results_dir)
        assert manifest is not None, "a run that has ended has written it"
        assert manifest.growth is not None, "it is of this suite"
        trials = read_trials(results_dir.root, measured_of(manifest))
        if manifest.looks or (trials["status"] == "interrupted").any():
            return ""
        values = growth.with_added(manifest.growth.added)
        open_at = open_ends(trials, manifest)
        more = [lr for end in open_at for lr in growth.beyond(values, above=end == values[-1])]
        if not more:
            return ""
        record = replace(manifest.growth, added=sorted([*manifest.growth.added, *more]))
        write_manifest(results_dir, replace(manifest, growth=record))
    ends, lrs = (" and ".join(f"{lr:g}" for lr in some) for some in (open_at, more))
    return f"the target is reached at lr {ends}, where the grid ends; it gets {lrs} for all arms"
