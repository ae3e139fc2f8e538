"""Workers and their supervisor: what is answered, what dies, what is tried again, and which trial fails."""

import errno
import signal
import tempfile
from collections import Counter
from dataclasses import replace
from multiprocessing import resource_tracker
from unittest.mock import Mock

import pytest

from harness.errors import MachineError, SuiteError
from harness.execution.executors.base import Event
from harness.execution.executors.retries import MAX_ATTEMPTS, follow_up
from harness.execution.executors.scheduler import has_room, request
from harness.execution.messages import (
    Failed,
    Finished,
    InspectRequest,
    PreflightRequest,
    PreflightResult,
    Progress,
    Stopped,
    TrainRequest,
    UserErrorReply,
)
from harness.execution.pool import Pool, Worker, pool_of
from harness.spec.cohorts import MAX_COHORT, Cohort
from harness.spec.trial import Trial
from harness.storage.records import ResultsDir, read_record

BASE = Trial(dataset="digits", model="mlp-8", lr=0.1, batch_size=50, steps=5, device="cpu")
TRIALS = tuple(replace(BASE, seed=seed) for seed in range(11))
SUITE = """
from harness import Suite
suite = Suite(dataset="digits", model="mlp-8", lr=0.1, batch_size=50, steps=5, seed=range(3))
"""


def never():
    return False


@pytest.mark.parametrize("error", [BlockingIOError(errno.EAGAIN, "unavailable"), EOFError("unexpected EOF")])
def test_a_limit_of_processes_is_named_in_one_line(error):
    with pytest.raises(MachineError, match=r"can't start a worker process: raise the limit of processes \(ulimit -u"):
        Pool(1, Mock(side_effect=error)).submit(InspectRequest())


def test_a_server_of_workers_that_can_not_be_started_is_named_in_one_line(monkeypatch):
    monkeypatch.setattr(resource_tracker, "ensure_running", Mock(side_effect=BlockingIOError(errno.EAGAIN, "no")))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with pytest.raises(MachineError, match="raise the limit of processes"), pool_of(1):
        pass
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_another_error_at_the_start_of_a_worker_is_told_as_it_is():
    with pytest.raises(MachineError, match=r"can't start a worker process: .*path too long"):
        Pool(1, Mock(side_effect=OSError("AF_UNIX path too long"))).submit(InspectRequest())


def test_a_machine_without_a_temporary_folder_is_told_which_variable_sets_one(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    with pytest.raises(MachineError, match=r"no temporary folder .* set TMPDIR"), pool_of(1):
        pass


def job(trials, tmp_path):
    return TrainRequest(suite=tmp_path / "s.py", cohort=Cohort(trials), root=tmp_path, telemetry={"torch": "x"})


def drive(tmp_path, answer_of):
    """Run the retry rules over made-up answers; how often each trial was trained, and the events."""
    waiting, tried, events = [job(TRIALS, tmp_path)], Counter(), []
    while waiting:
        train_request = waiting.pop(0)
        tried.update(trial.key for trial in train_request.cohort.trials)
        event, again = follow_up(train_request, answer_of(train_request.cohort.trials))
        events.append(event)
        waiting = again + waiting
    return tried, events


BAD = TRIALS[7]
CRASH = Failed(outcome="crashed", error="ValueError: bad", details="Traceback ...", is_retryable=False)
DEATH = Failed(outcome="crashed", error="the worker was killed", details="", is_retryable=True)


@pytest.mark.parametrize("failure", [CRASH, DEATH, replace(CRASH, outcome="oom")], ids=["raised", "killed", "oom"])
def test_the_trial_that_fails_is_found_and_all_others_have_results(tmp_path, failure):
    tried, events = drive(tmp_path, lambda trials: failure if BAD in trials else Finished(failed=()))
    ended = [key for event in events if event.done == 1 for key in event.keys]
    assert sorted(ended) == sorted(trial.key for trial in TRIALS)
    record = read_record(ResultsDir(tmp_path).record(BAD.key))
    assert (record.outcome, record.error) == (failure.outcome, failure.error)
    assert [path.stem for path in ResultsDir(tmp_path).records.iterdir()] == [BAD.key]
    assert "Traceback" in next(ResultsDir(tmp_path).logs.glob(f"{BAD.key}.*")).read_text() or failure is DEATH
    assert max(tried.values()) == tried[BAD.key]


def test_a_cohort_whose_worker_dies_once_is_simply_trained_again(tmp_path):
    answers = iter([DEATH, Finished(failed=())])
    tried, events = drive(tmp_path, lambda trials: next(answers))
    assert set(tried.values()) == {2}
    assert not ResultsDir(tmp_path).records.exists()
    assert any("trying again" in event.note for event in events)


def test_a_cohort_is_tried_whole_a_few_times_before_it_is_cut(tmp_path):
    sizes = []

    def answer(trials):
        sizes.append(len(trials))
        return DEATH if len(trials) == len(TRIALS) else Finished(failed=())

    drive(tmp_path, answer)
    assert sizes == [len(TRIALS)] * MAX_ATTEMPTS + [5, 6]


def test_an_error_that_no_trial_has_caused_ends_the_run(tmp_path):
    with pytest.raises(MachineError, match="disk full"):
        drive(tmp_path, lambda trials: UserErrorReply(error_type="MachineError", error="disk full"))
    assert not ResultsDir(tmp_path).records.exists()


def test_progress_never_looks_like_an_end(tmp_path):
    event, again = follow_up(job(TRIALS, tmp_path), Progress(done=1.0, failed=("k",)))
    assert event.done < 1
    assert event.failed == ("k",)
    assert again == []
    assert follow_up(job(TRIALS, tmp_path), Stopped()) == (Event(), [])


@pytest.mark.parametrize(
    ("size", "running", "asked", "room"),
    [
        (2, [], 1, True),
        (2, [1], 1, True),
        (2, [1, 1], 1, False),
        (4, [2], 2, True),
        (4, [2, 1], 2, False),
        (1, [], 8, True),
    ],
)
def test_a_cohort_waits_for_as_many_cores_as_it_has_threads(tmp_path, size, running, asked, room):
    busy = Pool(size, lambda: pytest.fail("no worker is needed"))
    for threads in running:
        busy.workers.append(Worker(None, None, job((replace(BASE, threads=threads),), tmp_path)))
    assert has_room(busy, job((replace(BASE, threads=asked),), tmp_path)) == room


def test_a_confirmation_waits_until_it_is_alone_and_others_wait_for_it(tmp_path):
    plain, confirmation = job(TRIALS[:1], tmp_path), replace(job(TRIALS[1:2], tmp_path), is_confirmation=True)
    for running, asked in ((plain, confirmation), (confirmation, plain), (confirmation, confirmation)):
        busy = Pool(4, lambda: pytest.fail("no worker is needed"))
        assert has_room(busy, asked)
        busy.workers.append(Worker(None, None, running))
        assert not has_room(busy, asked)


def test_a_trial_that_fails_beside_others_and_not_alone_has_not_failed(tmp_path):
    request, tried = job(TRIALS[:1], tmp_path), []
    for answer in (CRASH, Finished(failed=())):
        tried.append(request.is_confirmation)
        event, again = follow_up(request, answer)
        request = again[0] if again else request
    assert tried == [False, True]
    assert event.done == 1
    assert not ResultsDir(tmp_path).records.exists()


def test_a_limit_of_the_suite_ends_every_trial_of_a_cohort_without_another_try(tmp_path):
    late = Failed(outcome="timeout", error="max_seconds=3", details="", is_retryable=False, is_final=True)
    event, again = follow_up(job(TRIALS, tmp_path), late)
    assert (event.done, again) == (1.0, [])
    outcomes = {read_record(ResultsDir(tmp_path).record(trial.key)).outcome for trial in TRIALS}
    assert outcomes == {"timeout"}


@pytest.fixture(scope="module")
def pool():
    with pool_of(2) as made:
        yield made


def test_a_preflight_answers_from_a_worker(pool, tmp_path):
    (tmp_path / "s.py").write_text(SUITE)
    seen = request(pool, PreflightRequest(suite=tmp_path / "s.py", device="auto", measure=True), never)
    assert isinstance(seen, PreflightResult)
    assert seen.fingerprint["threads"] == 1
    (kind,) = seen.estimates.values()
    assert kind.seconds > 0
    assert (kind.max_cohort_size, kind.note) == (MAX_COHORT, "")


def test_a_preflight_says_which_models_train_in_a_slower_way_and_why(pool, tmp_path):
    own = """
from torch import flatten, nn
class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.last = nn.Linear(64, classes)
    def forward(self, x):
        return self.last(flatten(x, 1))
def net(classes):
    return Net(classes)
"""
    (tmp_path / "s.py").write_text(own + SUITE.replace('"mlp-8"', "net"))
    seen = request(pool, PreflightRequest(suite=tmp_path / "s.py", device="cpu"), never)
    (kind,) = seen.estimates.values()
    assert kind.note.startswith(
        "model 'net' with norm 'none' falls back to torch.vmap, which is slower and no fault of it: "
        "stacked layers don't cover it: "
    )
    assert len(kind.note.splitlines()) == 1


def test_a_refusal_comes_back_as_the_error_that_it_is(pool, tmp_path):
    (tmp_path / "s.py").write_text(SUITE.replace("mlp-8", "mlp-8x"))
    with pytest.raises(SuiteError, match="mlp-64x8"):
        request(pool, PreflightRequest(suite=tmp_path / "s.py", device="cpu"), never)


def test_a_question_is_dropped_when_the_run_is_stopped(pool):
    assert request(pool, InspectRequest(), lambda: True) is None


def test_a_worker_that_is_killed_is_told_by_its_signal_and_replaced(tmp_path):
    (tmp_path / "s.py").write_text(SUITE)
    with pool_of(1) as pool:
        assert request(pool, InspectRequest(), never)
        (worker,) = pool.workers
        pool.submit(job(TRIALS, tmp_path))
        worker.process.kill()
        answers = [answer for _ in range(20) for _, answer in pool.events(0.5)]
        (failure,) = [answer for answer in answers if isinstance(answer, Failed)]
        assert "SIGKILL" in failure.error
        assert failure.is_retryable
        assert pool.free == 1
        assert request(pool, InspectRequest(), never)
        assert pool.workers != [worker]


def test_a_worker_that_says_nothing_for_too_long_is_a_timeout():
    made = []

    def start() -> Worker:
        import multiprocessing
        import time

        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=time.sleep, args=(60,), daemon=True)
        process.start()
        made.append((process, theirs))
        return Worker(process, ours)

    pool = Pool(1, start, heartbeat_timeout=-1.0)  # a silence of zero seconds is longer
    pool.submit(InspectRequest())
    ((_, failure),) = list(pool.events(0.0))
    assert failure.outcome == "timeout"
    assert not made[0][0].is_alive()
