"""Runs that share a folder: together they train everything once, and what one leaves behind another takes over."""

import os
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest

from harness.errors import BusyError, MachineError
from harness.execution.executors.base import Event, available
from harness.execution.messages import CohortEstimate, PreflightResult
from harness.execution.run_folder import save_manifest
from harness.execution.run_plan import RunOptions
from harness.execution.runner import RunResult, load_and_check, run_suite
from harness.execution.stop_flag import StopFlag
from harness.spec.cohorts import cohort_id, shape
from harness.storage.claims import Claims, claimed_names
from harness.storage.lock import lock_results
from harness.storage.owners import this_process
from harness.storage.records import ResultsDir, read_manifest, write_record
from harness.storage.running import find_runs, sign_of_life
from harness.storage.tables import read_results
from tests.support.manifests import a_manifest
from tests.support.processes import wait_for
from tests.support.records import a_record

SUITE = '''"""Do many hands make light work?"""
from harness import Suite
suite = Suite(dataset="digits", model="mlp-8", norm=["batch", "none"], lr=[0.1, 0.2, 0.3], batch_size=100, steps=3,
    seed=range(8), compare="norm")
'''
TRIALS = 2 * 3 * 8


class KilledError(Exception):
    """The end of a process, as far as a thread can play it."""


@dataclass
class Hands:
    """An executor that writes records in place of training; it may die at a cohort, and be of another machine."""

    trained: Counter = field(default_factory=Counter)
    dies_at: int | None = None
    seconds: float = 0.002
    cpu: str = "of this kind"
    max_size: int = 3
    outcome: str = "trained"

    def preflight(self, request):
        (suite,) = load_and_check([request.suite])
        estimate = CohortEstimate(max_cohort_size=self.max_size, work=1.0)
        fingerprint = {"machine": "m", "cpu": self.cpu, "torch": "2", "threads": 1}
        machine = {"host": "here", "device_name": "cpu", "python": "3"}
        estimates = {shape(trial): estimate for trial in suite.trials(device="cpu")}
        return PreflightResult(device="cpu", fingerprint=fingerprint, machine=machine, estimates=estimates)

    def execute(self, requests, *_):
        for number, request in enumerate(available(requests)):
            if number == self.dies_at:
                raise KilledError
            keys = tuple(trial.key for trial in request.cohort.trials)
            yield Event(keys=keys)
            time.sleep(self.seconds)
            for trial in request.cohort.trials:
                record = a_record(trial, outcome=self.outcome, telemetry=dict(request.telemetry))
                write_record(ResultsDir(request.root), record)
                self.trained[trial.key] += 1
            yield Event(keys=keys, done=1.0)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Look often, and draw no report."""
    joined = "harness.execution.executors.joined"
    for name in ("POLL_SECONDS", "LOOK_SECONDS", "STALE_LOOK_SECONDS"):
        monkeypatch.setattr(f"{joined}.{name}", 0.01)
    monkeypatch.setattr("harness.storage.claims.WAIT_SECONDS", 0.01)
    monkeypatch.setattr("harness.execution.runner.start_building", lambda: None)
    monkeypatch.setattr("harness.execution.runner.update_report", lambda results_dir, manifest: results_dir.root)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "tiny.py").write_text(SUITE, "utf-8")

    def run(hands, *, stop=None, results="results", **options):
        (suite,) = load_and_check([tmp_path / "tiny"])
        run_options = RunOptions(results=tmp_path / results, **{"join": True, **options})
        return list(run_suite(suite, run_options, hands, stop or StopFlag(None)))

    run.place = ResultsDir(tmp_path / "results" / "tiny")
    run.folder = tmp_path
    return run


def silence(folder):
    """Let the last sign of life of all claims lie an hour back."""
    for path in folder.glob("*.json"):
        then = path.stat().st_mtime - 3600
        os.utime(path, (then, then))


def tables(run, results="results"):
    return {name: (run.folder / results / "tiny" / name).read_bytes() for name in ("trials.csv", "curves.parquet")}


def started_together(run, everybody, **options):
    """What became of runs that begin at the same time: their events, or the error that ended them."""
    ready = threading.Barrier(len(everybody))

    def begin(hands):
        ready.wait()
        try:
            return run(hands, **options)
        except KilledError as error:
            return error

    with ThreadPoolExecutor(len(everybody)) as threads:
        return list(threads.map(begin, everybody))


def test_runs_that_start_together_train_every_trial_once_and_all_of_them_see_the_end(run):
    everybody = [Hands() for _ in range(6)]
    ended = started_together(run, everybody)
    trained = sum((hands.trained for hands in everybody), Counter())
    assert set(trained.values()) == {1}
    assert len(trained) == TRIALS
    for events in ended:
        assert isinstance(events[-1], RunResult)
        assert len(events[-1].trials) == TRIALS
        assert "interrupted" not in set(events[-1].trials["status"])
    assert claimed_names(run.place.claims) == set()
    assert find_runs(run.place) == []
    run(Hands(), join=False, results="alone")
    assert tables(run) == tables(run, "alone")


def test_the_work_is_shared_out(run):
    everybody = [Hands(seconds=0.03) for _ in range(3)]
    started_together(run, everybody)
    assert min(len(hands.trained) for hands in everybody) >= TRIALS / 6


@pytest.mark.parametrize("seed", range(4))
def test_of_runs_that_die_at_random_others_take_over_and_no_trial_is_recorded_twice(run, seed):
    draws = random.Random(seed)
    everybody = [Hands(dies_at=draws.choice([0, 1, 2, 3, None]), seconds=0.02) for _ in range(6)] + [
        Hands(seconds=0.02)
    ]
    ended = started_together(run, everybody)
    assert any(isinstance(events, KilledError) for events in ended)
    trained = sum((hands.trained for hands in everybody), Counter())
    assert set(trained.values()) == {1}
    assert len(trained) == TRIALS


def test_a_trial_that_has_ended_without_a_result_is_not_tried_by_one_after_the_other(run):
    everybody = [Hands(outcome="crashed") for _ in range(3)]
    ended = started_together(run, everybody)
    trained = sum((hands.trained for hands in everybody), Counter())
    assert set(trained.values()) == {1}
    assert all((events[-1].trials["status"] == "crashed").all() for events in ended)


def test_what_was_skipped_elsewhere_is_tried_once_by_each(run):
    everybody = [Hands(outcome="skipped") for _ in range(3)]
    started_together(run, everybody)
    for hands in everybody:
        assert set(hands.trained.values()) <= {1}


def test_the_first_cuts_the_cohorts_for_all(run):
    everybody = [Hands(max_size=size) for size in (1, 2, 3, 4)]
    started_together(run, everybody)
    sizes = {len(cohort) for cohort in read_manifest(run.place).cohorts}
    assert len(sizes) == 1
    run(Hands(max_size=7))
    assert {len(cohort) for cohort in read_manifest(run.place).cohorts} == sizes


def test_the_first_suite_json_stands_where_two_believe_to_be_first(run):
    first, second = replace(a_manifest(), question="first?"), replace(a_manifest(), question="second?")
    owner = this_process(is_joined=True)
    assert save_manifest(run.place, None, first, owner)
    assert not save_manifest(run.place, None, second, owner)
    assert read_manifest(run.place) == first
    assert [path.name for path in run.place.root.iterdir()] == ["suite.json"]


def test_another_kind_of_machine_is_refused_unless_it_may_be_any_and_then_every_trial_says_so(run):
    run(Hands(), only={"norm": frozenset({"none"})})
    manifest = read_manifest(run.place)
    other = Hands(cpu="of another kind")
    with pytest.raises(MachineError, match=r"cpu was of this kind, is of another kind.*--any-machine"):
        run(other)
    run(other, any_machine=True)
    assert read_manifest(run.place) == manifest
    telemetry = read_results(run.place.root).telemetry.set_index("key")["environment_changes"]
    assert set(telemetry[list(other.trained)]) == {"cpu was of this kind, is of another kind"}
    assert telemetry.drop(list(other.trained)).isna().all()


def test_runs_on_other_machines_that_start_together_are_refused_as_well(run):
    def begin(hands):
        try:
            return run(hands)
        except MachineError as error:
            return str(error)

    with ThreadPoolExecutor(4) as threads:
        ended = list(threads.map(begin, [Hands(cpu=str(number)) for number in range(4)]))
    assert sum("--any-machine" in events for events in ended if isinstance(events, str)) == 3


def test_a_run_that_joins_and_one_that_works_alone_refuse_each_other(run):
    with lock_results(run.place), pytest.raises(BusyError, match="another run is at work"):
        run(Hands())
    with lock_results(run.place, is_shared=True):
        with pytest.raises(BusyError, match="another run is at work"):
            run(Hands(), join=False)
        for options in ({"fresh": True}, {"retry": frozenset({"oom"})}):
            with pytest.raises(BusyError, match="another run is at work"):
                run(Hands(), **options)
        run(Hands())


def test_who_is_at_work_is_named_with_the_time_since_when(run):
    refused = []

    class Curious(Hands):
        def execute(self, requests, world_size, preflight):
            for options in ({"join": False}, {"fresh": True}, {"retry": frozenset({"oom"})}):
                with pytest.raises(BusyError) as caught:
                    run(Hands(), **options)
                refused.append(str(caught.value))
            yield from super().execute(requests, world_size, preflight)

    run(Curious())
    me = this_process(is_joined=True)
    for text in refused:
        assert f"({me.host}, process {me.pid}, since 20" in text
        assert "work beside it with --join" in text


def test_a_run_on_another_host_is_seen_where_the_lock_is_not(run):
    with lock_results(run.place):
        pass
    owner = replace(this_process(is_joined=True), host="elsewhere", kernel="another")
    run.place.running.mkdir()
    with sign_of_life(run.place, owner):
        with pytest.raises(BusyError, match="elsewhere, process"):
            run(Hands(), join=False)
        run(Hands())
    run(Hands(), join=False)


def test_fresh_and_retry_work_where_nobody_else_does_and_others_may_join_then(run):
    first = Hands(outcome="crashed")
    run(first)

    class Joined(Hands):
        def execute(self, requests, world_size, preflight):
            with lock_results(run.place, is_shared=True):
                yield from super().execute(requests, world_size, preflight)

    again = Joined()
    run(again, retry=frozenset({"crashed"}))
    assert again.trained == first.trained
    fresh = Joined()
    run(fresh, fresh=True)
    assert fresh.trained == first.trained


def test_another_version_of_the_suite_is_refused_while_others_are_at_work(run):
    class Edited(Hands):
        def execute(self, requests, world_size, preflight):
            (run.folder / "tiny.py").write_text(SUITE.replace("range(8)", "range(9)"), "utf-8")
            with pytest.raises(BusyError, match="another version of the suite"):
                run(Hands())
            yield from super().execute(requests, world_size, preflight)

    hands = Edited()
    run(hands)
    assert len(hands.trained) == TRIALS
    later = Hands()
    run(later)
    assert len(later.trained) == TRIALS // 8


def test_shards_share_the_trials_out_without_claims_too(run):
    everybody = [Hands() for _ in range(3)]
    for number, hands in enumerate(everybody, start=1):
        run(hands, shard=(number, 3), join=False)
    trained = sum((hands.trained for hands in everybody), Counter())
    assert set(trained.values()) == {1}
    assert {len(hands.trained) for hands in everybody} == {TRIALS // 3}
    run(Hands(), join=False, results="alone")
    assert tables(run) == tables(run, "alone")


def test_a_run_that_is_stopped_leaves_no_claim_and_the_others_finish(run):
    stop = StopFlag(None)

    class Stopped(Hands):
        def execute(self, requests, *_):
            next(requests)
            stop.reason = "stopped by a test"
            yield Event()

    events = run(Stopped(), stop=stop)
    assert events[-1].report is None
    assert claimed_names(run.place.claims) == set()
    hands = Hands()
    run(hands)
    assert len(hands.trained) == TRIALS


@pytest.mark.parametrize("is_silent_at_first", [True, False], ids=["silent", "falls silent"])
def test_what_a_worker_on_another_host_holds_is_taken_over_when_it_is_silent_for_long(run, is_silent_at_first):
    plan = Hands()
    run(plan, only={"norm": frozenset({"none"})})
    left = [keys for keys in read_manifest(run.place).cohorts if not {*keys} <= {*plan.trained}]
    lost = Claims(run.place.claims, replace(this_process(is_joined=True), host="elsewhere", kernel="another"))
    for keys in left[:2]:
        assert lost.take(cohort_id(keys))
    if is_silent_at_first:
        silence(run.place.claims)
    hands = Hands()
    with ThreadPoolExecutor(1) as threads:
        ended = threads.submit(run, hands)
        if not is_silent_at_first:
            wait_for(lambda: len(hands.trained) == sum(map(len, left[2:])))
            assert not ended.done()
            silence(run.place.claims)
        events = ended.result(60)
    assert "interrupted" not in set(events[-1].trials["status"])
    waits = [event.note for event in events if isinstance(event, Event) and "others train the last 2" in event.note]
    assert is_silent_at_first or ("elsewhere" in waits[0] and len(waits) == 1)


def test_what_a_run_is_at_is_seen_while_it_lasts_with_how_far_it_is(run, monkeypatch):
    monkeypatch.setattr("harness.storage.running.WRITE_EVERY", 0.0)
    seen = []

    class Watched(Hands):
        def execute(self, requests, *_):
            for request in available(requests):
                keys = tuple(trial.key for trial in request.cohort.trials)
                yield Event(keys=keys, done=0.25)
                seen.append((keys, find_runs(run.place)))
                yield Event(keys=keys, done=1.0)
                return

    run(Watched(), stop=None, join=False)
    ((keys, (sign,)),) = seen
    assert [(cohort.keys, cohort.done) for cohort in sign.cohorts] == [(keys, 0.25)]
    assert sign.owner == replace(this_process(is_joined=False), since=sign.owner.since, token=sign.owner.token)
    assert find_runs(run.place) == []
