"""A run that goes on until claims are decided: train, look at the verdicts, add seeds where a claim has no word.

What it knows of itself is in suite.json: how many seeds are planned at most, at which looks there have been, and which
trials got more seeds. So one that was killed goes on where it was, and a look is counted once.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace

from harness.analysis import formatting
from harness.analysis.judging import DESCRIPTIVE, UNDECIDED
from harness.analysis.verdicts import Verdict
from harness.errors import UsageError
from harness.execution.executors.base import Event, Executor
from harness.execution.looking.growing import run_growing
from harness.execution.run_plan import RunOptions
from harness.execution.runner import RunEvent, RunResult
from harness.execution.stop_flag import StopFlag
from harness.spec.loader import SuiteFile
from harness.spec.looks import DEFAULT_MAX_SEEDS, AddedSeeds, next_look, seeds_to_start, trials_of_claim
from harness.spec.manifest import Manifest, seeds_of, with_look
from harness.storage.lock import lock_results
from harness.storage.records import ResultsDir, read_manifest, write_manifest

NOT_BY_SEEDS = ("costs",)  # kinds whose unit is no seed: more of these need not decide them


def check_max_seeds(suite: SuiteFile, earlier: Manifest | None, given: int | None) -> int:
    """How many seeds a claim may get at most; UsageError where the suite, or what it has planned, forbids that."""
    seeds, planned = seeds_to_start(suite.suite), earlier.max_seeds if earlier else 0
    if not suite.suite.claims:
        raise UsageError(f"--until-decided: {suite.name} claims nothing that could be decided; leave it out")
    if planned and given not in (None, planned):
        raise UsageError(
            f"--max-seeds was {planned} when {suite.name} started, got {given}: the level is spent by that plan; "
            "keep it, or begin again with --fresh"
        )
    most = planned or given or DEFAULT_MAX_SEEDS
    if most < seeds:
        raise UsageError(f"--max-seeds must be at least the {seeds} seeds of {suite.name}, got {most}")
    return most


def run_until_decided(suite: SuiteFile, options: RunOptions, executor: Executor, stop: StopFlag) -> Generator[RunEvent]:
    """Run the suite and look at its verdicts, again and again with more seeds, until no claim that can is without one.

    Yields what the runs yield, of their results only the last.
    """
    results_dir = ResultsDir(options.results / suite.name)
    most = check_max_seeds(suite, None if options.fresh else read_manifest(results_dir), options.max_seeds)
    options = replace(options, max_seeds=most)
    while True:
        result = None
        for event in run_growing(suite, options, executor, stop):
            if isinstance(event, RunResult):
                result = event
            else:
                yield event
        assert result is not None, "a run ends with its result"
        note = "" if result.report is None or stop() else _add_seeds(results_dir, result.verdicts, most)
        if not note:
            yield result
            return
        yield Event(note=note)
        options = replace(options, fresh=False, retry=frozenset())


def _add_seeds(results_dir: ResultsDir, verdicts: Sequence[Verdict], max_seeds: int) -> str:
    """Record the look and give seeds to the trials of claims without a word; what was done, "" at the end."""
    open_claims = {number: v.claim for number, v in enumerate(verdicts, start=1) if is_open(v)}
    with lock_results(results_dir, is_shared=False):
        manifest = read_manifest(results_dir)
        assert manifest is not None, "a run that has ended has written it"
        seeds = len(seeds_of(manifest))
        following = next_look(seeds, max_seeds)
        if not open_claims or following is None:
            return ""
        # The claims as suite.json has them: in the verdicts an arm without a value has a name.
        claims = [manifest.claims[number - 1].claim for number in open_claims]
        where = [point for claim in claims for point in trials_of_claim(claim, manifest.compare)]
        added = AddedSeeds(seeds=following, where=[point for i, point in enumerate(where) if point not in where[:i]])
        write_manifest(results_dir, replace(manifest, looks=with_look(manifest), added=[*manifest.added, added]))
    numbers = formatting.listing(map(str, open_claims))
    noun = "claim" if len(open_claims) == 1 else "claims"
    return f"looked at {seeds} seeds: {noun} {numbers} of {len(verdicts)} without a word; on to {following} seeds there"


def is_open(verdict: Verdict) -> bool:
    """Whether more seeds could give a word to a claim."""
    is_decidable = not (verdict.declared_after or verdict.of_equal_arms or verdict.claim.kind in NOT_BY_SEEDS)
    return is_decidable and verdict.word in (UNDECIDED, DESCRIPTIVE)
