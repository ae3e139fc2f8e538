"""`run`, from a suite file to a report, and what happens when it is stopped, killed or run again."""

import csv
import json
import random
import signal
import time
from pathlib import Path

import pytest

from tests.cli.conftest import TINY, CommandLine

SLOW_ENOUGH = TINY.replace("steps=12", "steps=1500").replace("mlp-16", "resmlp-64x3").replace("1e30", "1.0")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The slower suite, run in one go."""
    line = CommandLine(tmp_path_factory.mktemp("uninterrupted"))
    line.suite(SLOW_ENOUGH)
    ran = line("run", "tiny", "--progress", "none")
    assert ran.code == 0, ran.err
    return line


def rows(line, name="tiny"):
    with (line.results / name / "trials.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_a_row_for_every_trial_and_a_report(finished):
    found = rows(finished)
    assert len(found) == 2 * 3 * 3
    assert {row["status"] for row in found if row["lr"] == "1e+30"} <= {"nonfinite", "no_better_than_init"}
    folder = finished.results / "tiny"
    for name in ("suite.json", "telemetry.csv", "comparisons.csv", "report.md", "report/index.html"):
        assert (folder / name).stat().st_size > 0
    assert len(list((folder / "records").iterdir())) == len(found)
    assert not any((folder / "checkpoints").glob("*"))


def test_a_second_run_trains_nothing_and_changes_nothing(finished):
    files = [path for path in (finished.results / "tiny").rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files if path.name not in (".lock", "last_run.json")}
    ran = finished("run", "tiny")
    assert (ran.code, ran.err) == (0, "")
    verdict, summary = ran.out.splitlines()
    assert "18 of 18 trials have a result" in summary
    assert verdict.split(maxsplit=1)[1] == "batch has a higher test accuracy than none, at lr 0.3"
    word, claim = verdict.split(maxsplit=1)
    assert f"\n1. **{word}**: {claim}: " in (finished.results / "tiny/report.md").read_text("utf-8")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_only_trains_the_cohorts_of_the_selected_trials(harness):
    harness.suite()
    ran = harness("run", "tiny", "--only", "norm=none", "--only", "lr=0.03", "--progress", "none")
    assert ran.code == 0, ran.err
    status = {(row["norm"], row["lr"]): row["status"] for row in rows(harness)}
    assert status["none", "0.03"] != "interrupted"
    assert status["batch", "0.03"] == "interrupted"
    assert "3 of 3 trials have a result" in ran.out


def test_the_number_of_workers_and_the_order_of_the_work_move_no_bits(finished, harness):
    harness.suite()
    assert harness("run", "tiny", "--only", "norm=none", "--workers", "1", "--progress", "none").code == 0
    assert harness("run", "tiny", "--workers", "3", "--progress", "none").code == 0
    assert harness.tables() == finished.tables()


def test_trials_added_later_leave_the_others_as_they_were(finished, harness):
    harness.suite(TINY.replace("range(3)", "range(2)"))
    assert harness("run", "tiny", "--progress", "none").code == 0
    before = {row["key"]: row for row in rows(harness)}
    harness.suite()
    assert harness("run", "tiny", "--progress", "none").code == 0
    after = {row["key"]: row for row in rows(harness)}
    assert set(after) == {row["key"] for row in rows(finished)}
    assert {key: after[key] for key in before} == before


def test_fresh_sets_results_aside_and_loses_none(harness):
    harness.suite()
    assert harness("run", "tiny", "--progress", "none").code == 0
    before = harness.tables()
    ran = harness("run", "tiny", "--fresh", "--progress", "none")
    assert ran.code == 0
    (kept,) = harness.results.glob("tiny.*")
    assert (kept / "trials.csv").read_bytes() == before["trials.csv"]
    assert str(kept.name) in ran.out
    assert harness.tables() == before


def test_a_damaged_record_is_named_and_trained_again(finished, harness):
    harness.suite()
    assert harness("run", "tiny", "--progress", "none").code == 0
    record = sorted((harness.results / "tiny" / "records").iterdir())[4]
    data = bytearray(record.read_bytes())
    data[len(data) // 2] ^= 4
    record.write_bytes(data)
    ran = harness("run", "tiny", "--progress", "none")
    assert ran.code == 0
    assert record.name in ran.err
    assert "checksum" in ran.err
    assert harness.tables() == finished.tables()


def test_threads_and_the_way_of_training_are_what_the_suite_asks_for_and_are_recorded(harness):
    harness.suite(
        '''"""Does it matter?"""
from harness import Suite
suite = Suite(dataset="digits", model="mlp-16", lr=0.1, batch_size=50, steps=6, threads=[1, 2],
    max_cohort_size=[1, None], seed=range(3), compare="max_cohort_size")
'''
    )
    assert harness("run", "tiny", "--progress", "none").code == 0
    with (harness.results / "tiny" / "telemetry.csv").open(encoding="utf-8") as file:
        measured = {row["key"]: row for row in csv.DictReader(file)}
    for row in rows(harness):
        telemetry = measured[row["key"]]
        assert telemetry["threads"] == row["threads"]
        assert telemetry["backend"] == ("loop" if row["max_cohort_size"] else "compiled")
        assert telemetry["cohort_size"] == "1" or not row["max_cohort_size"]


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGTERM, 75, "SIGTERM"), (signal.SIGUSR1, 75, "SIGUSR1"), (signal.SIGINT, 130, "Ctrl-C")],
    ids=["SIGTERM", "SIGUSR1", "SIGINT"],
)
def test_a_signal_saves_and_the_same_command_goes_on(harness, uninterrupted, number, code, word):
    harness.suite(SLOW_ENOUGH)
    process = harness.start("run", "tiny", "--progress", "none")
    wait_for_training(harness)
    process.send_signal(number)
    sent = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, "")
    assert time.monotonic() - sent < 20
    assert word in out
    assert "python -m harness run" in out
    assert any((harness.results / "tiny" / "checkpoints").glob("*.snapshot")) or rows(harness)[0]["status"] == "ok"
    assert harness("run", "tiny", "--progress", "none").code == 0
    assert harness.tables() == uninterrupted.tables()


def wait_for_training(line, name="tiny"):
    deadline = time.monotonic() + 60
    while not any((line.results / name / "checkpoints").glob("*.snapshot")):
        assert time.monotonic() < deadline, "nothing was saved"
        time.sleep(0.05)


SLEEPY = '''"""Does it end?"""
import time
from torch import nn
from harness import Suite

class Sleepy(nn.Linear):
    def forward(self, x):
        time.sleep(0.3)
        return super().forward(x.flatten(1))

def sleepy(classes):
    return Sleepy(64, classes)

suite = Suite(dataset="digits", model=sleepy, lr=0.1, batch_size=50, steps=1000, eval_every=1000, seed=range(2))
'''


def test_a_second_ctrl_c_ends_at_once(harness):
    harness.suite(SLEEPY)
    process = harness.start("run", "tiny", "--progress", "none", "--fresh")
    wait_for_training(harness)
    process.send_signal(signal.SIGINT)
    time.sleep(0.02)  # two pending signals of a kind are one
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopped by Ctrl-C; go on with: python -m harness run tiny --progress none" in out + err


def test_the_time_budget_stops_with_75(harness):
    harness.suite(SLOW_ENOUGH)
    ran = harness("run", "tiny", "--time-budget", "5s", "--progress", "none")
    assert ran.code == 75
    assert "time budget" in ran.out


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_comes_out_byte_for_byte_the_same(harness, uninterrupted, kill_all, kills):
    harness.suite(SLOW_ENOUGH)
    seed = random.randrange(10**6)
    print(f"seed of the kills: {seed}")
    rng = random.Random(seed)
    for _ in range(kills):
        process = harness.start("run", "tiny", "--progress", "none")
        time.sleep(rng.uniform(0.2, 8))
        kill_all(process)
    ran = harness("run", "tiny", "--progress", "none")
    assert ran.code == 0, ran.err
    assert harness.tables() == uninterrupted.tables()


def test_no_worker_outlives_its_supervisor(harness):
    harness.suite(SLOW_ENOUGH)
    process = harness.start("run", "tiny", "--progress", "none")
    wait_for_training(harness)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 5
    while alive(process.pid):
        assert time.monotonic() < deadline, f"still there: {alive(process.pid)}"
        time.sleep(0.05)


def alive(group):
    """Processes of a group that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(stat.parent.name)
    return found


def test_two_runs_of_one_suite_do_not_meet(harness, kill_all):
    harness.suite(SLOW_ENOUGH)
    first = harness.start("run", "tiny", "--progress", "none")
    wait_for_training(harness)
    second = harness("run", "tiny", "--progress", "none")
    kill_all(first)
    assert second.code == 4
    assert "another run is at work" in second.err


def test_a_trial_that_brings_its_worker_down_is_a_row_and_the_others_have_results(harness):
    own = """
def fragile(classes):
    import os, torch
    class Fragile(torch.nn.Linear):
        def forward(self, x):
            if not x.requires_grad and x.shape[0] == 100 and torch.is_grad_enabled() and DOOMED:
                os.kill(os.getpid(), 9)
            return super().forward(x.flatten(1))
    return Fragile(64, classes)

def sound(classes):
    import torch
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, classes))

DOOMED = True
"""
    text = TINY.replace("suite = Suite", f"{own}\nsuite = Suite").replace('"mlp-16"', "[fragile, sound]")
    text = text.replace('["batch", "none"]', '"none"').replace("range(3)", "[0]")
    harness.suite(text.replace('claims=[Claim.better("batch", than="none", lr=0.3)],', ""))
    ran = harness("run", "tiny", "--progress", "none")
    assert ran.code == 1, ran.out + ran.err
    status = [(row["model"], row["status"]) for row in rows(harness)]
    assert all(found == "crashed" for model, found in status if model == "fragile")
    assert all(found not in ("crashed", "interrupted") for model, found in status if model == "sound")
    assert "--retry crashed" in ran.out
    assert any((harness.results / "tiny" / "logs").iterdir())
    again = harness("run", "tiny", "--progress", "none")
    assert again.code == 1, "what crashed is not trained again unasked"
    data = json.loads(harness("status", "tiny", "--json").out)
    assert data["by_status"]["crashed"] == 3


def test_a_report_bears_points_that_have_no_result_yet(harness):
    harness.suite(
        '''"""Q?"""
from harness import Claim, Suite, log_grid
suite = Suite(dataset="circles", model="mlp-4", norm=["none", "batch"], lr=log_grid(0.01, 10.0, per_decade=3),
    batch_size=[32, 64], seed=range(2), steps=4, eval_every=2, target_accuracy=0.6, claims=[
        Claim.better("batch", than="none"), Claim.equivalent("batch", to="none", within=0.1),
        Claim.wider_lr_range("batch", than="none", at_least_decades=0.1), Claim.best_tuned("batch", than="none"),
        Claim.sooner("batch", than="none"), Claim.costs("batch", than="none", at_most=3.0)])
'''
    )
    ran = harness("run", "tiny", "--only", "batch_size=32", "--progress", "none")
    assert ran.code == 0, ran.err
