"""The run as Python sees it: what happens is yielded, the result comes last, and nothing is printed."""

from collections import Counter
from dataclasses import dataclass, replace

import pandas as pd
import pytest
import torch

from harness.errors import EmptySelection, SuiteError
from harness.execution.executors import open_executor
from harness.execution.executors.base import Event, Executor
from harness.execution.executors.in_process import in_process_executor
from harness.execution.messages import PreflightRequest
from harness.execution.run_plan import RunOptions
from harness.execution.runner import RunResult, TrainingStarted, load_and_check, run_suite
from harness.execution.stop_flag import StopFlag

SUITE = '''"""Is a tiny suite enough?"""
from harness import Suite
suite = Suite(dataset="digits", model="mlp-8", norm=["batch", "none"], lr=0.1, batch_size=100, steps=3, seed=range(3))
'''


@dataclass(frozen=True)
class Watched:
    """An executor that leaves all work to another, in another environment."""

    executor: Executor
    calls: Counter
    environment: str = "as it is"

    def preflight(self, request):
        self.calls["preflight"] += 1
        result = self.executor.preflight(request)
        return result and replace(result, fingerprint={**result.fingerprint, "torch": self.environment})

    def execute(self, requests, world_size, preflight):
        requests = list(requests)
        self.calls["cohorts"] += len(requests)
        yield from self.executor.execute(iter(requests), world_size, preflight)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "tiny.py").write_text(SUITE, "utf-8")

    def run(environment="as it is", stop=None, **options):
        run_options = RunOptions(results=tmp_path / "results", executor="in-process", **options)
        (suite,) = load_and_check([tmp_path / "tiny"])
        stop, run.calls = stop or StopFlag(None), Counter()
        with open_executor(run_options, stop) as executor:
            return list(run_suite(suite, run_options, Watched(executor, run.calls, environment), stop))

    run.folder = tmp_path
    return run


@pytest.fixture(autouse=True)
def built(monkeypatch):
    """How often the native library was begun to be built."""
    builds = []
    monkeypatch.setattr("harness.execution.runner.start_building", lambda: builds.append(1))
    return builds


def test_the_native_library_is_built_while_the_run_is_planned_if_something_must_train(run, built):
    run()
    run()
    assert built == [1]


def test_a_run_yields_what_happens_and_its_result_last(run, capsys):
    started, *events, result = run()
    assert isinstance(started, TrainingStarted)
    assert isinstance(result, RunResult)
    assert all(isinstance(event, Event) for event in events)
    ended = Counter(key for event in events if event.done == 1 for key in event.keys)
    keys = [trial.key for trial in started.plan.selected]
    assert ended == Counter(keys)
    assert list(result.trials["key"]) == keys
    assert result.report.is_file()
    assert run.calls == {"preflight": 1, "cohorts": 6}
    assert capsys.readouterr() == ("", "")


def test_a_run_that_has_nothing_to_train_asks_no_executor(run):
    run()
    (result,) = run()
    assert (len(result.trials), run.calls) == (6, {})


def test_a_selection_that_matches_nothing_leaves_no_folder(run):
    with pytest.raises(EmptySelection):
        run(only={"norm": frozenset({"layer"})})
    assert not (run.folder / "results").exists()


def test_only_trains_what_is_selected_and_the_rest_later(run):
    *_, result = run(only={"norm": frozenset({"none"})})
    assert list(result.trials["norm"]) == ["none"] * 3
    assert run.calls["cohorts"] == 3
    *_, result = run()
    assert (len(result.trials), run.calls["cohorts"]) == (6, 3)


def test_another_environment_is_named(run):
    run(only={"norm": frozenset({"none"})})
    note, *_ = run(environment="another")
    assert note.note == (
        "results of this suite were started in a different environment (torch was as it is, is another); "
        "--fresh begins again"
    )


def test_fresh_archives_earlier_results_and_trains_all_again(run):
    run()
    before = pd.read_csv(run.folder / "results/tiny/trials.csv")
    note, *_ = run(fresh=True)
    (archived,) = (run.folder / "results").glob("tiny.*")
    assert note.note == f"earlier results are kept in {archived}"
    assert run.calls["cohorts"] == 6
    for folder in (archived, run.folder / "results/tiny"):
        pd.testing.assert_frame_equal(pd.read_csv(folder / "trials.csv"), before)


def test_a_run_that_is_stopped_in_its_preflight_has_no_rows(run):
    stop = StopFlag(None)
    stop.reason = "stopped by a test"
    (result,) = run(stop=stop)
    assert (result.trials, result.report) == (None, None)


def test_a_preflight_in_this_process_has_one_thread_whatever_the_last_cohort_had(tmp_path):
    (tmp_path / "tiny.py").write_text(SUITE, "utf-8")
    before = torch.get_num_threads()
    with in_process_executor(lambda: False) as executor:
        torch.set_num_threads(2)
        try:
            result = executor.preflight(PreflightRequest(suite=tmp_path / "tiny.py", device="cpu"))
        finally:
            torch.set_num_threads(before)
    assert result.fingerprint["threads"] == 1


def test_the_wrong_one_of_several_suites_is_named(tmp_path):
    (tmp_path / "good.py").write_text(SUITE, "utf-8")
    claim = 'claims=[Claim.better("bach", than="none")]'
    wrong = SUITE.replace("import Suite", "import Claim, Suite").replace("seed=range(3)", f"seed=range(3), {claim}")
    (tmp_path / "wrong.py").write_text(wrong, "utf-8")
    with pytest.raises(SuiteError, match=r"wrong\.py: .*did you mean 'batch'"):
        load_and_check([tmp_path / "good", tmp_path / "wrong"])
