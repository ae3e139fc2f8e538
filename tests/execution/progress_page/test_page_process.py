"""The page of a run under way: there while the run lasts, of one process, and without a trace in what comes out."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from harness.execution.executors.base import Event, available
from harness.execution.looking.growing import run_growing
from harness.execution.messages import CohortEstimate, PreflightResult
from harness.execution.progress_page import page_process
from harness.execution.progress_page.page_process import PageProcess
from harness.execution.run_plan import RunOptions
from harness.execution.runner import load_and_check, run_suite
from harness.execution.stop_flag import StopFlag
from harness.spec.cohorts import shape
from harness.storage.claims import Claims
from harness.storage.owners import this_process
from harness.storage.records import ResultsDir, write_record
from tests.support.processes import marked, wait_for
from tests.support.records import a_drawn_record

SUITE = '''"""Is there something to see on the way?"""
from harness import Claim, Suite
suite = Suite(dataset="digits", model="mlp-8", norm=["batch", "none"], lr=0.1, batch_size=100, steps=3, seed=range(6),
    claims=[Claim.better("batch", than="none", by=0.01)])
'''
FINGERPRINT = {"machine": "m", "cpu": "any", "torch": "2", "threads": 1}
MACHINE = {"host": "a-host", "device_name": "cpu", "python": "3"}
IDLE = ("-c", "input()")  # a process that waits to be told to end


@dataclass
class Hands:
    """An executor that writes records in place of training; after the first cohort it waits for something."""

    waits_for: object = lambda: True

    def preflight(self, request):
        (suite,) = load_and_check([request.suite])
        estimates = {shape(trial): CohortEstimate(max_cohort_size=3, work=1.0) for trial in suite.trials(device="cpu")}
        return PreflightResult(device="cpu", fingerprint=FINGERPRINT, machine=MACHINE, estimates=estimates)

    def execute(self, requests, *_):
        for number, request in enumerate(available(requests)):
            keys = tuple(trial.key for trial in request.cohort.trials)
            yield Event(keys=keys)
            if number == 1:
                until = time.monotonic() + 60
                while not self.waits_for():
                    assert time.monotonic() < until, "it takes too long"
                    time.sleep(0.05)
                    yield Event(keys=keys, done=0.5)
            for trial in request.cohort.trials:
                write_record(ResultsDir(request.root), a_drawn_record(trial, telemetry=dict(request.telemetry)))
            yield Event(keys=keys, done=1.0)


@pytest.fixture(autouse=True)
def every_run_is_long(monkeypatch):
    for name in ("MIN_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(page_process, name, 0.0)
    monkeypatch.setattr(page_process, "PAUSE_SECONDS", 0.1)
    monkeypatch.setattr("harness.execution.runner.start_building", lambda: None)


@pytest.fixture
def no_report(monkeypatch):
    """No report is drawn, which takes most of the time of these runs."""
    monkeypatch.setattr("harness.execution.runner.update_report", lambda results_dir, manifest: results_dir.root)
    monkeypatch.setattr("harness.execution.runner.verdicts", lambda results: [])


@pytest.fixture
def run(tmp_path):
    (tmp_path / "tiny.py").write_text(SUITE, "utf-8")

    def run(hands, *, results="results", stop=None, runs=run_suite, **options):
        (suite,) = load_and_check([tmp_path / "tiny"])
        run_options = RunOptions(results=tmp_path / results, command="harness run tiny --fresh", **options)
        return list(runs(suite, run_options, hands, stop or StopFlag(None)))

    run.suite = tmp_path / "tiny.py"
    run.page = lambda results="results": tmp_path / results / "tiny" / "report" / "index.html"
    run.says = lambda text: run.page().exists() and text in run.page().read_text("utf-8")
    return run


def test_the_page_is_there_from_the_first_cohort_on_and_the_report_has_the_bytes_of_one_without_it(run, monkeypatch):
    seen = []

    def is_seen():
        seen.append(run.says("3 of 12 trials have ended; this page is of a run under way."))
        return seen[-1]

    run(Hands(is_seen))
    assert seen[-1]
    monkeypatch.setattr(page_process, "MIN_SECONDS", 1e9)
    run(Hands(), results="without")
    assert run.page().read_bytes() == run.page("without").read_bytes()
    names = [sorted(path.name for path in run.page(folder).parent.iterdir()) for folder in ("results", "without")]
    assert names[0] == names[1]


def test_a_run_that_is_stopped_leaves_a_page_that_says_so_and_how_to_go_on(run):
    stop = StopFlag(None)

    def is_stopped():
        if run.page().exists():
            stop.reason, stop.exit_code = "stopped by SIGTERM", 75
        return stop()

    (*_, result) = run(Hands(is_stopped), stop=stop)
    assert result.report is None
    assert run.says("the run was stopped (stopped by SIGTERM)")
    assert run.says("<code>harness run tiny</code>")  # --fresh would archive what was saved
    assert not run.says('http-equiv="refresh"')


@pytest.mark.usefixtures("no_report")
def test_the_page_is_there_while_the_grid_of_learning_rates_may_still_grow(run):
    growing = SUITE.replace("lr=0.1", "lr=log_grid(0.1, 1.0, per_decade=1, grow=True), target_accuracy=0.95")
    run.suite.write_text(growing.replace("import Claim", "import log_grid, Claim"), "utf-8")
    seen = []

    def is_seen():
        seen.append(run.says("3 of 24 trials have ended; this page is of a run under way."))
        return seen[-1]

    run(Hands(is_seen), runs=run_growing)
    assert seen[-1]


@pytest.mark.usefixtures("no_report")
def test_a_run_that_is_over_within_a_minute_gets_no_page_before_its_end(run, monkeypatch):
    started = []
    monkeypatch.setattr(PageProcess, "start", lambda self: started.append(1))
    run(Hands(), results="long")
    assert started
    started.clear()
    monkeypatch.setattr(page_process, "MIN_SECONDS", 60.0)
    run(Hands(), results="short")
    run(Hands(), results="bare", with_page=False)
    assert not started


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("fault", ["a page that can't be drawn", "no process"])
def test_whatever_becomes_of_the_page_the_run_goes_on(run, monkeypatch, fault):
    if fault == "no process":
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr(page_process, "PROGRAM", ("-c", "raise SystemExit(1)"))
    (*_, result) = run(Hands())
    assert result.report is not None
    assert not run.page().exists()


def test_of_runs_that_have_joined_one_draws_and_another_goes_on_when_it_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(page_process, "PROGRAM", IDLE)
    first, second = (
        PageProcess(ResultsDir(tmp_path), Claims(tmp_path / "claims", this_process(is_joined=True)), "")
        for _ in range(2)
    )
    assert first.start()
    assert not second.start()
    first.close()
    assert second.start()
    second.close()
    assert [*(tmp_path / "claims").glob("*.json")] == []


def test_the_process_is_gone_as_soon_as_its_run_was_killed(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from harness.storage.records import ResultsDir; "
        "from harness.execution.progress_page.page_process import PageProcess; "
        "PageProcess(ResultsDir(Path(sys.argv[1])), None, '').start(); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) as run:
        wait_for(lambda: len(marked(str(tmp_path))) == 2)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        wait_for(lambda: not marked(str(tmp_path)), seconds=20)
