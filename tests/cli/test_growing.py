"""A grid of learning rates that grows until both edges of the usable ranges are seen, and what is said of it."""

import json

import pandas as pd
import pytest

from harness.errors import UsageError
from harness.execution.looking.growing import check_growing
from harness.execution.run_plan import RunOptions
from harness.spec.loader import load_suite

SUITE = '''"""Which kind is usable over more learning rates?"""

from harness import Claim, Metric, Suite, log_grid

USABLE = {"narrow": (0.03, 0.5), "wide": (0.1, 5.0)}


def fit(trial, log, checkpoint):
    low, high = USABLE[trial.kind]
    return {"share": 0.9 if low <= trial.lr <= (high if trial.seed < 2 else 50) else 0.1}


suite = Suite(
    train=fit, kind=["narrow", "wide"], lr=log_grid(0.1, 1.0, per_decade=2, grow=True), seed=range(2),
    outcomes={"share": Metric(higher_is_better=True, low=0, high=1)}, target={"share": 0.5},
    claims=[Claim.wider_lr_range("wide", than="narrow")],
)
'''
RUN = ("run", "tiny", "--executor", "in-process", "--progress", "none")
GRID = [0.01, 0.0316, 0.1, 0.316, 1.0, 3.16, 10.0]
GREW = "The grid of learning rates grew from 0.1..1 to 0.01..10, until both edges of the usable range were seen"


def read_suite(line):
    return json.loads((line.results / "tiny" / "suite.json").read_text("utf-8"))


def test_it_grows_to_the_first_lr_on_either_side_at_which_no_trial_reaches_the_target(harness):
    harness.suite(SUITE)
    planned = harness("plan", "tiny")
    assert "now 0.1..1 (3), may grow to 0.0001..1000 (15)" in planned.out
    assert "60 trials at most" in planned.out
    ran = harness(*RUN)
    assert ran.code == 0, ran.err
    assert "the target is reached at lr 0.1 and 1, where the grid ends; it gets 0.0316 and 3.16 for all arms" in ran.err
    assert read_suite(harness)["growth"]["added"] == [0.01, 0.0316, 3.16, 10.0]
    trials = pd.read_csv(harness.results / "tiny" / "trials.csv")
    counts = trials.groupby(["kind", "lr"]).size()
    assert sorted(set(trials["lr"])) == GRID
    assert (counts == 2).all()
    assert len(counts) == 2 * len(GRID)
    for text in (
        (harness.results / "tiny" / "report.md").read_text("utf-8"),
        (harness.results / "tiny" / "report" / "index.html").read_text("utf-8"),
        harness("status", "tiny").out,
        harness("plan", "tiny").out,
    ):
        assert GREW in text.replace("\n", " ")
        assert "may grow" not in text
    # Its trials are those of a grid that was written so by hand.
    harness.suite(SUITE.replace("log_grid(0.1, 1.0, per_decade=2, grow=True)", str(GRID)), "tiny")
    again = harness(*RUN, "--results", "by_hand")
    assert again.code == 0, again.err
    assert harness.tables() == harness.tables(results="by_hand")


def test_it_ends_at_its_bounds_and_says_so(harness):
    harness.suite(SUITE.replace("grow=True", "grow=(0.05, 4)"))
    assert harness(*RUN).code == 0
    assert read_suite(harness)["growth"]["added"] == [3.16]
    report = (harness.results / "tiny" / "report.md").read_text("utf-8")
    assert "grew from 0.1..1 to 0.1..3.16; no edge within the bounds at 0.1: the target is reached there;" in report
    assert "no edge within the bounds at 3.16" in report
    harness.suite(SUITE)
    assert harness(*RUN).code == 0, "wider bounds let it go on"
    assert GREW in (harness.results / "tiny" / "report.md").read_text("utf-8")


def test_a_part_of_a_suite_is_refused_in_one_line(harness):
    harness.suite(SUITE)
    ran = harness(*RUN, "--only", "kind=wide")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == ("harness: the lr grid of tiny grows by what all its trials come to; leave --only out\n")


@pytest.mark.parametrize(
    ("options", "is_queued", "flag"),
    [({"shard": (1, 2)}, False, "--shard"), ({"join": True}, False, "--join"), ({}, True, "--executor")],
)
def test_so_is_what_is_shared_or_queued(tmp_path, options, is_queued, flag):
    (tmp_path / "tiny.py").write_text(SUITE, "utf-8")
    (tmp_path / "stays.py").write_text(SUITE.replace(", grow=True", ""), "utf-8")
    growing, stays = (load_suite(tmp_path / f"{name}.py") for name in ("tiny", "stays"))
    check_growing([growing], RunOptions(), is_queued=False)
    check_growing([stays], RunOptions(**options), is_queued=is_queued)
    with pytest.raises(UsageError, match=f"leave {flag} out"):
        check_growing([stays, growing], RunOptions(**options), is_queued=is_queued)


def test_it_is_grown_before_the_first_look_and_stays_so_when_seeds_are_added(harness):
    harness.suite(SUITE)
    ran = harness(*RUN, "--until-decided", "--max-seeds", "4")
    assert ran.code == 0, ran.err
    manifest = read_suite(harness)
    assert (manifest["growth"]["added"], manifest["looks"]) == (
        [0.01, 0.0316, 3.16, 10.0],
        [{"seeds": 2, "max_seeds": 4}],
    )
    trials = pd.read_csv(harness.results / "tiny" / "trials.csv")
    assert len(trials) == 2 * 4 * len(GRID)
    report = (harness.results / "tiny" / "report.md").read_text("utf-8")
    assert "the target is reached at 10 still, and the grid stays, for verdicts have been looked at" in report


def test_killed_anywhere_it_comes_to_the_same_grid_and_bits(whole_and_killed):
    whole, killed = whole_and_killed(SUITE, RUN)
    assert killed.tables() == whole.tables()
    assert read_suite(killed)["growth"] == read_suite(whole)["growth"]
