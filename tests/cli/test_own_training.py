"""Own training by the command line: killed, joined and refused, it is as any other."""

import random
import signal
import time

import pandas as pd
import pytest

from tests.cli.conftest import CommandLine
from tests.support.own_training import SLOW, WALK, returning
from tests.support.processes import marked, wait_for

TABLES = ("trials.csv", "curves.parquet", "comparisons.csv")


def tables(line: CommandLine) -> dict[str, bytes]:
    return {name: (line.results / "walk" / name).read_bytes() for name in TABLES}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    line = CommandLine(tmp_path_factory.mktemp("whole"))
    line.suite(SLOW, "walk")
    ran = line("run", "walk", "--progress", "none")
    assert ran.code == 0, ran.err
    return line


def test_it_trains_without_torch_and_the_report_says_what_is_vouched_for(uninterrupted):
    trials = pd.read_csv(uninterrupted.results / "walk/trials.csv")
    assert list(trials["status"]) == ["ok"] * 4
    assert list(trials["torch"]) == [0] * 4
    assert list(trials.columns) == [
        *("suite", "key", "train", "fails", "steps", "stride", "seed", "device", "world_size", "threads", "source"),
        *("status", "fail_step", "end", "torch"),
    ]
    assert not any((uninterrupted.results / "walk/checkpoints").glob("*"))
    page = (uninterrupted.results / "walk/report/index.html").read_text("utf-8")
    assert "vouches for the pairing by seed" in page
    assert "equal bits" in page


@pytest.mark.parametrize(
    "kills", [1, pytest.param(10, marks=[pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(900)])]
)
def test_killed_at_random_moments_it_comes_out_as_if_it_had_not_been(harness, uninterrupted, kills):
    harness.suite((uninterrupted.folder / "walk.py").read_text("utf-8"), "walk")
    rng = random.Random(kills)
    for _ in range(kills):
        run = harness.start("run", "walk", "--progress", "none")
        if kills == 1:
            wait_for(lambda: any(harness.results.glob("walk/checkpoints/*.snapshot")))
        time.sleep(rng.uniform(0, 0.3 if kills == 1 else 4))
        run.send_signal(signal.SIGKILL)
        run.communicate()
        wait_for(lambda: not marked(str(harness.folder)))
    ran = harness("run", "walk", "--progress", "none")
    assert ran.code == 0, ran.err
    assert tables(harness) == tables(uninterrupted)


def test_other_verbs_read_it_as_any_other(harness, uninterrupted):
    harness.suite((uninterrupted.folder / "walk.py").read_text("utf-8"), "walk")
    merged = harness("merge", str(uninterrupted.results / "walk"), "--results", "results")
    assert merged.code == 0, merged.err
    assert tables(harness) == tables(uninterrupted)
    key = pd.read_csv(harness.results / "walk/trials.csv")["key"][0]
    assert "stride" in harness("show", key).out
    planned = harness("plan", "walk", "--results", "elsewhere")
    assert "own training is not tried out" in planned.out
    assert "never uses its checkpoint" not in planned.out


def test_two_that_join_come_out_as_one_alone(harness, uninterrupted):
    harness.suite((uninterrupted.folder / "walk.py").read_text("utf-8"), "walk")
    words = ("run", "walk", "--join", "--workers", "1", "--progress", "none")
    runs = [harness.start(*words) for _ in range(2)]
    said = [run.communicate(timeout=240) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert tables(harness) == tables(uninterrupted)


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        (returning("checkpoint.load()"), ("run",), "fit must return its outcomes"),
        (WALK.replace("log.place", "log place"), ("run",), "unknown metric 'log place'"),
    ],
    ids=["mapping", "metric"],
)
def test_what_is_wrong_is_one_line(harness, text, words, says):
    harness.suite(text, "walk")
    verb, *rest = words
    ran = harness(verb, "walk", *rest, "--progress", "none")
    assert ran.code == 2
    assert says in ran.err
    assert ran.err.count("\n") == 1


def test_the_function_may_start_processes_that_find_what_its_file_defines(harness):
    text = returning("with multiprocessing.Pool(1) as pool: return {'acc': pool.map(half, [1])[0]}")
    text = text.replace("from harness", "import multiprocessing\nfrom harness", 1)
    harness.suite(text.replace("def fit", "def half(x):\n    return x / 2\n\ndef fit"), "walk")
    ran = harness("run", "walk", "--progress", "none")
    assert ran.code == 0, ran.err
    assert list(pd.read_csv(harness.results / "walk/trials.csv")["acc"]) == [0.5]
