"""Where the ends of a grid that grows are still usable, and what is said of how it grew."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.looking.growth import growth_words, open_ends
from harness.analysis.lr_ranges import range_units
from harness.spec.grids.lr_growth import LrGrowth
from harness.spec.looks import Look
from tests.support.simulated import simulate

LRS = [0.01, 0.1, 1.0]
AXES = {"norm": ["batch", "none"], "lr": LRS, "batch_size": [7, 14], "seed": range(2)}
GROWTH = LrGrowth(low=0.1, high=1.0, lowest=0.001, highest=10.0, added=[0.01])
TRIALS = 2 * 3 * 2 * 2
SEEN = ", until both edges of the usable range were seen wherever the target is reached"


def results_of(folder, reached, **changes):
    """Results where these trials reach the target; the others fall short of it, or fail."""
    results = simulate(folder, AXES, status="ok", evaluations=2)
    reached = np.resize(np.asarray(reached), TRIALS)
    status = np.where(reached, "ok", np.where(np.arange(TRIALS) % 3, "below_target", "nonfinite"))
    trials = results.trials.assign(test_accuracy=np.where(reached, 0.95, 0.3), status=status)
    return replace(results, trials=trials, manifest=replace(results.manifest, **{"growth": GROWTH, **changes}))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=TRIALS, max_size=TRIALS))
def test_an_end_is_open_where_the_usable_range_of_any_arm_seed_and_point_goes_on_beyond_it(tmp_path_factory, reached):
    results = results_of(tmp_path_factory.mktemp("s"), reached)
    ranges = range_units(results.trials, results.manifest)
    seen = {0.01: ranges["low_seen"].all(), 1.0: ranges["high_seen"].all()}
    assert open_ends(results.trials, results.manifest) == [end for end, is_seen in seen.items() if not is_seen]


@pytest.mark.parametrize(
    ("reach", "changes", "words"),
    [
        (
            lambda t: t["lr"] == 0.1,
            {},
            f"{SEEN}.",
        ),
        (
            lambda t: (t["lr"] == 0.1) & (t["norm"] == "batch"),
            {},
            f"{SEEN}; without norm it is reached nowhere.",
        ),
        (lambda t: t["lr"] < 0, {}, ", for no trial reaches the target: there is no edge to look for."),
        (lambda t: t["lr"] > 0.1, {}, "; the target is reached at 1 still, so the next run adds to it."),
        (
            lambda t: t["lr"] > 0.1,
            {"looks": [Look(seeds=2)]},
            "; the target is reached at 1 still, and the grid stays, for verdicts have been looked at.",
        ),
        (
            lambda t: t["lr"] < 0.1,
            {"growth": replace(GROWTH, lowest=0.01)},
            "; no edge within the bounds at 0.01: the target is reached there.",
        ),
    ],
    ids=["seen", "nowhere", "none", "goes on", "looked at", "bound"],
)
def test_it_is_said_how_the_grid_grew_and_why_it_ended(tmp_path, reach, changes, words):
    trials = simulate(tmp_path, AXES, status="ok", evaluations=2).trials
    results = results_of(tmp_path, reach(trials), **changes)
    said = growth_words(results.trials, results.manifest)
    assert said == f"The grid of learning rates grew from 0.1..1 to 0.01..1{words}"


def test_of_a_grid_that_stays_nothing_is_said_and_of_one_half_run_that_it_is(tmp_path):
    results = results_of(tmp_path, [True])
    assert growth_words(results.trials, replace(results.manifest, growth=None)) == ""
    part = results.trials.assign(status=results.trials["status"].where(results.trials.index > 3, "waiting"))
    assert "so far: trials that decide it have no result yet" in growth_words(part, results.manifest)
