"""`run --join`: workers in one results folder, some of which are killed, come out byte for byte as one run alone."""

import json
import random
import signal
import threading
import time
from contextlib import contextmanager

import pytest

from harness.storage.claims import claimed_names
from tests.cli.conftest import TINY, CommandLine
from tests.cli.test_run import SLOW_ENOUGH
from tests.support.processes import wait_for

SMALL = SLOW_ENOUGH.replace("1500", "400").replace("steps=", "max_cohort_size=2, compare='norm', steps=")
MANY = SMALL.replace("[0.03, 0.3, 1.0]", "[0.03, 0.1, 0.3, 1.0]").replace("range(3)", "range(6)")
JOIN = ("run", "tiny", "--join", "--workers", "1", "--progress", "none")


@contextmanager
def watched_records(line, name="tiny"):
    """The records that are written meanwhile: how many files each trial has had."""
    written, ended = {}, threading.Event()

    def watch():
        while not ended.wait(0.01):
            for path in (line.results / name / "records").glob("[!.]*.json"):
                written.setdefault(path.name, set()).add((path.stat().st_ino, path.stat().st_mtime_ns))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield written
    finally:
        ended.set()
        thread.join()


def status(line, name="tiny"):
    return json.loads(line("status", name, "--json").out)


@pytest.mark.parametrize(
    ("text", "workers", "kills"),
    [(SMALL, 3, 1), pytest.param(MANY, 8, 3, marks=[pytest.mark.slow, pytest.mark.timeout(1500)])],
    ids=["few", "eight"],
)
def test_workers_of_which_some_are_killed_record_every_trial_once_and_come_out_as_one_run(
    harness, tmp_path_factory, kill_all, text, workers, kills
):
    alone = CommandLine(tmp_path_factory.mktemp("alone"))
    for line in (alone, harness):
        line.suite(text)
    assert alone("run", "tiny", "--progress", "none").code == 0
    seed = random.randrange(10**6)
    print(f"seed of the kills: {seed}")
    draws = random.Random(seed)
    with watched_records(harness) as written:
        processes = [harness.start(*JOIN) for _ in range(workers)]
        wait_for(lambda: written)
        draws.shuffle(processes)
        killed, (stopped, *others) = processes[:kills], processes[kills:]
        for process in killed:
            kill_all(process)
            time.sleep(draws.uniform(0, 2))
        stopped.send_signal(signal.SIGTERM)
        out, err = stopped.communicate(timeout=600)
        assert (stopped.returncode, err) in ((75, ""), (0, "")), err
        assert stopped.returncode == 0 or "--join" in out.partition("go on with: ")[2]
        for process in others:
            out, err = process.communicate(timeout=600)
            assert process.returncode == 0, err
    assert harness.tables() == alone.tables()
    assert {len(files) for files in written.values()} == {1}
    folder = harness.results / "tiny"
    assert claimed_names(folder / "claims") == set()
    assert not any((folder / "checkpoints").glob("*"))
    assert (folder / "report" / "index.html").is_file()


def test_a_run_alone_and_one_that_joins_refuse_each_other_and_say_who_is_there(harness, kill_all):
    harness.suite(SLOW_ENOUGH)
    for first, others in ((JOIN, (JOIN[:2], (*JOIN, "--fresh"), (*JOIN, "--retry", "oom"))), (JOIN[:2], (JOIN,))):
        process = harness.start(*first)
        wait_for((harness.results / "tiny" / "suite.json").is_file)
        for other in others:
            ran = harness(*other)
            assert ran.code == 4
            assert f"process {process.pid}" in ran.err
            assert "since 20" in ran.err
            assert ("--join" in ran.err) == (first == JOIN)
        kill_all(process)
        (harness.results / "tiny" / "suite.json").unlink()


def test_status_tells_what_is_running_from_what_waits_and_what_was_interrupted(harness, kill_all):
    harness.suite(SLOW_ENOUGH)
    process = harness.start("run", "tiny", "--workers", "1", "--progress", "none")
    wait_for(lambda: any((harness.results / "tiny" / "checkpoints").glob("*.snapshot")))
    data = wait_for(lambda: (data := status(harness))["runs"][0]["cohorts"] and data)
    (run,) = data["runs"]
    assert (run["owner"]["pid"], run["owner"]["is_joined"]) == (process.pid, False)
    (cohort,) = run["cohorts"]
    assert 0 <= cohort["done"] < 1
    assert data["by_status"]["running"] == len(cohort["keys"])
    assert data["by_status"]["waiting"] > 0
    assert "interrupted" not in data["by_status"]
    told = harness("status", "tiny").out
    assert f"process {process.pid}" in told
    assert "look again with: python -m harness status tiny.py" in told
    assert not (harness.results / "tiny" / "trials.csv").exists()
    kill_all(process)
    data = status(harness)
    assert data["runs"] == []
    assert "running" not in data["by_status"]
    assert data["by_status"]["interrupted"] > 0
    assert "go on with: python -m harness run tiny.py" in harness("status", "tiny").out


def test_any_machine_is_for_those_that_join(harness):
    harness.suite(TINY)
    ran = harness("run", "tiny", "--any-machine")
    assert (ran.code, ran.err) == (2, "harness: --any-machine is for --join, which is not given\n")


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", "1/3/5"])
def test_a_shard_that_is_none_is_refused_in_one_line(harness, shard):
    harness.suite(TINY)
    ran = harness("run", "tiny", f"--shard={shard}")
    assert ran.code == 2
    assert ran.err.startswith("harness: --shard needs I/N")


def test_run_and_plan_say_what_a_part_of_the_grid_selects(harness):
    harness.suite(TINY)
    part = ("--only", "norm=none", "--shard", "1/2")
    for verb in ("plan", "run"):
        assert "--only norm=none --shard 1/2 selects 5 of 18 trials\n" in harness(verb, "tiny", *part).out
