"""last_run.json: how the last run ended, whatever ended it."""

import json
import os

import pytest

from harness.errors import BusyError, MachineError, RunAborted
from harness.execution.run_plan import RunOptions
from harness.execution.runner import load_and_check, run_suite
from harness.execution.stop_flag import INTERRUPTED, TEMPORARY, StopFlag
from harness.storage.lock import lock_results
from harness.storage.records import ResultsDir
from tests.execution.test_joined import SUITE, TRIALS, Hands, quick

__all__ = ["quick"]


class Ending(Hands):
    """An executor in which something happens when it is to train."""

    def __init__(self, happens, **settings):
        super().__init__(**settings)
        self.happens = happens

    def execute(self, requests, *_):
        self.happens()
        yield from super().execute(requests)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "tiny.py").write_text(SUITE, "utf-8")

    def run(hands, stop=None):
        (suite,) = load_and_check([tmp_path / "tiny"])
        options = RunOptions(results=tmp_path / "results", command="as it was typed")
        return list(run_suite(suite, options, hands, stop or StopFlag(None)))

    run.place = ResultsDir(tmp_path / "results" / "tiny")
    return run


def last_run(run):
    return json.loads(run.place.last_run.read_bytes())


def raises(error):
    def happen():
        raise error

    return happen


def test_it_says_that_a_run_is_at_work_and_then_how_it_ended(run):
    during = []
    run(Ending(lambda: during.append(last_run(run))))
    (before,) = during
    after = last_run(run)
    assert before["state"] == "running"
    assert (before["pid"], before["command"], before["is_joined"]) == (os.getpid(), "as it was typed", False)
    assert after == {
        **before,
        "state": "ended",
        "finished": after["finished"],
        "exit_code": 0,
        "reason": "complete",
        "trials": {"ok": TRIALS},
    }
    assert before["started"] <= after["finished"]


def test_trials_without_a_result_are_counted(run):
    run(Hands(outcome="crashed"))
    assert (last_run(run)["exit_code"], last_run(run)["trials"]) == (1, {"crashed": TRIALS})
    run(Hands(outcome="crashed"))
    assert last_run(run)["exit_code"] == 1


def test_trials_that_were_all_skipped_are_something_that_the_machine_can_not_do(run):
    run(Hands(outcome="skipped"))
    assert last_run(run)["exit_code"] == 4


@pytest.mark.parametrize("code", [TEMPORARY, INTERRUPTED])
def test_a_run_that_is_stopped_says_by_what(run, code):
    stop = StopFlag(None)

    def happen():
        stop.reason, stop.exit_code = "stopped by a test", code

    run(Ending(happen), stop)
    assert (last_run(run)["state"], last_run(run)["exit_code"]) == ("ended", code)
    assert last_run(run)["reason"] == "stopped by a test"


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (MachineError("the disk is full"), 4, "the disk is full"),
        (RunAborted("stopped by Ctrl-C; the same command goes on", INTERRUPTED), 130, "stopped by Ctrl-C; "),
        (ZeroDivisionError("so it is"), 70, "ZeroDivisionError: so it is"),
        (KeyboardInterrupt(), 130, "KeyboardInterrupt"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_went_wrong_is_the_reason(run, error, code, reason):
    with pytest.raises(type(error)):
        run(Ending(raises(error)))
    assert last_run(run)["exit_code"] == code
    assert last_run(run)["reason"].startswith(reason)


def test_a_run_that_nobody_watches_on_has_ended_too(run, tmp_path):
    (suite,) = load_and_check([tmp_path / "tiny"])
    events = run_suite(suite, RunOptions(results=tmp_path / "results"), Hands(), StopFlag(None))
    next(events)
    events.close()
    assert (last_run(run)["state"], last_run(run)["exit_code"]) == ("ended", None)


def test_a_run_that_is_refused_was_none(run):
    run(Hands())
    before = run.place.last_run.read_bytes()
    with lock_results(run.place), pytest.raises(BusyError):
        run(Hands())
    assert run.place.last_run.read_bytes() == before


def test_a_disk_that_takes_no_such_file_ends_no_run(run, monkeypatch):
    def refuse(path, data):
        raise OSError(28, f"No space left for {path.name}, {len(data)} bytes")

    for module in ("execution.run_folder", "storage.running"):
        monkeypatch.setattr(f"harness.{module}.write_unsynced", refuse)
    assert len(run(Hands())[-1].trials) == TRIALS
