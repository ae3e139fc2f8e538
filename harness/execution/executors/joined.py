"""Cohorts shared out among runs that work in one results folder: each takes what no other has claimed."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import inf

from harness.execution.executors.base import Event, Executor
from harness.execution.messages import PreflightResult, TrainRequest
from harness.execution.run_plan import RunOptions, find_ended, trials_to_train
from harness.execution.torchrun import torchrun_process
from harness.io import remove_file
from harness.spec.cohorts import Cohort
from harness.spec.loader import SuiteFile
from harness.storage.claims import Claims, claimed_names, find_claim, server_time
from harness.storage.records import ResultsDir, read_records

POLL_SECONDS = 0.2  # between two looks at whether to stop
LOOK_SECONDS = 1.0  # between two looks for names that nobody has claimed, when there was none
STALE_LOOK_SECONDS = 5.0  # between two looks for claims whose owners have gone silent


@dataclass(slots=True, kw_only=True)
class SharedWork:
    """The cohorts that this run is to train as far as no other does, in the order in which they are taken."""

    suite: SuiteFile
    results_dir: ResultsDir
    options: RunOptions
    claims: Claims
    requests: dict[str, TrainRequest]  # those that may have to train -> by the name of their claim
    cohorts: Mapping[str, Cohort]  # as they were cut; a request holds what was missing of one
    training: dict[str, set[str]] = field(default_factory=dict)  # claimed here -> keys that have not ended
    ended_elsewhere: list[str] = field(default_factory=list)  # keys that are still to be told of
    looked_at: float = -inf
    looked_for_stale_at: float = -inf

    def world_sizes(self) -> list[int]:
        """The numbers of ranks that the work needs, the fewest first."""
        return sorted({request.cohort.trials[0].world_size for request in self.requests.values()})

    def hand_out(self, world_size: int) -> Iterator[TrainRequest | None]:
        """One cohort after the other, each when asked for; None where all are done or with others."""
        process = torchrun_process()
        max_at_once = inf if process is None else process.world_size  # they train as many at a time
        while True:
            yield self._take(world_size) if len(self.training) < max_at_once else None

    def add(self, event: Event) -> None:
        """Take an event into account: a claim is released when all of its trials have ended."""
        if event.done < 1.0:
            return
        for name, keys in list(self.training.items()):
            keys.difference_update(event.keys)
            if not keys:
                self.claims.release(name)
                del self.training[name]

    def _take(self, world_size: int) -> TrainRequest | None:
        now = time.monotonic()
        if now - self.looked_at < LOOK_SECONDS:
            return None
        names = [name for name, request in self.requests.items() if request.cohort.trials[0].world_size == world_size]
        claimed = claimed_names(self.claims.folder)
        for name in names:
            if name not in claimed and (request := self._claim(name)) is not None:
                return request
        if now - self.looked_for_stale_at > STALE_LOOK_SECONDS:
            for name in names:
                if name in claimed and (request := self._claim(name)) is not None:
                    return request
            self.looked_for_stale_at = now
        self.looked_at = now
        return None

    def _claim(self, name: str) -> TrainRequest | None:
        """Claim a cohort, and ask the records again: who had it before may have trained all or a part of it."""
        if name not in self.requests or not self.claims.take(name):
            return None
        request = self.requests.pop(name)
        keys = [trial.key for trial in request.cohort.trials]
        whole = [trial.key for trial in self.cohorts[name].trials]
        # A file server's client may not know what others have just written; making a file of its own tells it.
        server_time(self.results_dir.records)
        records, _ = read_records(self.results_dir, whole)
        outcomes = {key: record.outcome for key, record in records.items()}
        ended = find_ended(self.suite, self.results_dir, outcomes, self.options)
        self.ended_elsewhere += [key for key in keys if key in ended]
        part = trials_to_train(self.cohorts[name], {*keys} - ended, self.results_dir)
        if not part.trials:
            if ended.issuperset(whole):  # who had it may have been killed before it removed its snapshots
                for path in self.results_dir.checkpoints.glob(f"{name}.*.snapshot"):
                    remove_file(path)
            self.claims.release(name)
            return None
        self.training[name] = {trial.key for trial in part.trials}
        return replace(request, cohort=part)


def share_work(
    suite: SuiteFile,
    results_dir: ResultsDir,
    options: RunOptions,
    claims: Claims,
    requests: Sequence[TrainRequest],
    cohorts: Sequence[Cohort],
) -> SharedWork:
    """The work that these requests are, each claimed by the name of its whole cohort: all runs cut them alike."""
    names = {trial.key: cohort.id for cohort in cohorts for trial in cohort.trials}
    return SharedWork(
        suite=suite,
        results_dir=results_dir,
        options=options,
        claims=claims,
        requests={names[request.cohort.trials[0].key]: request for request in requests},
        cohorts={cohort.id: cohort for cohort in cohorts},
    )


def execute_shared(
    executor: Executor, work: SharedWork, preflight: PreflightResult, stop: Callable[[], bool]
) -> Iterator[Event]:
    """Train what no other run does, until all is done; what others leave behind is taken over."""
    has_told = False
    while work.requests and not stop():
        for world_size in work.world_sizes():
            requests = work.hand_out(world_size)
            first = None if stop() else next(requests, None)
            if first is not None:
                for event in executor.execute(chain([first], requests), world_size, preflight):
                    work.add(event)
                    yield event
                    yield from _ended_elsewhere(work)
                has_told = False
        yield from _ended_elsewhere(work)
        if work.requests and not stop():
            if not has_told:
                yield Event(note=_who_has(work))
                has_told = True
            time.sleep(POLL_SECONDS)


def _ended_elsewhere(work: SharedWork) -> Iterator[Event]:
    if work.ended_elsewhere:
        yield Event(keys=tuple(work.ended_elsewhere), done=1.0)
        work.ended_elsewhere.clear()


def _who_has(work: SharedWork) -> str:
    claims = [find_claim(work.claims.folder, name) for name in work.requests]
    owners = sorted({str(claim.owner) for claim in claims if claim is not None and claim.owner is not None})
    who = f" ({owners[0]}{f' and {len(owners) - 1} more' if owners[1:] else ''})" if owners else ""
    rest = "the last cohort" if len(work.requests) == 1 else f"the last {len(work.requests)} cohorts"
    return f"others train {rest}{who}; waiting, to take over what they leave behind"
