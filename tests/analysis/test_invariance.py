"""What must not matter to a verdict does not: what a seed brings to all arms, the names of seeds, the order of rows."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.verdicts import verdicts
from harness.spec.claim import Claim
from tests.support.manifests import declared
from tests.support.neutral_worlds import SEEDS, WORLDS, alike
from tests.support.simulated import simulate

NAMES = ["better", "equivalent", "best_tuned", "trend", "recovers"]
NUMBERS = ("estimate", "low", "high", "p", "median", "p_adjusted", "n")
FEW = settings(max_examples=4, deadline=None)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """For each kind results of its world, all having trained."""
    worlds = {}
    for name in NAMES:
        world = WORLDS[name]
        results = simulate(tmp_path_factory.mktemp("made"), world.axes, claims=[world.claim])
        rows = results.trials.assign(status="ok")
        worlds[name] = replace(results, trials=rows.assign(**world.draw(rows, np.random.default_rng(4))))
    return worlds


def judged(results, claim=None):
    if claim is not None:
        results = replace(results, manifest=replace(results.manifest, claims=declared(claim)))
    (verdict,) = verdicts(results, np.random.default_rng(0))
    return verdict


def numbers(verdict):
    return np.array([[getattr(c, name) for name in NUMBERS] for c in verdict.comparisons], dtype=float)


def with_scores(results, change):
    """The results with the columns of accuracy changed: (values, trials) -> values."""
    columns = ("test_accuracy", "val_accuracy")
    return replace(
        results, trials=results.trials.assign(**{c: change(results.trials[c], results.trials) for c in columns})
    )


@pytest.mark.parametrize("name", NAMES)
@given(shifts=st.lists(st.floats(-0.2, 0.2), min_size=SEEDS, max_size=SEEDS))
@FEW
def test_what_a_seed_brings_to_all_of_its_trials_cancels(made, name, shifts):
    moved = with_scores(made[name], lambda values, trials: values + np.array(shifts)[trials["seed"]])
    np.testing.assert_allclose(numbers(judged(moved)), numbers(judged(made[name])), atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@given(order=st.permutations(range(SEEDS)), shuffled=st.integers(0, 99))
@FEW
def test_neither_the_names_of_seeds_nor_the_order_of_rows_matter(made, name, order, shuffled):
    trials = made[name].trials
    renamed = trials.assign(seed=np.array(order)[trials["seed"]]).sample(frac=1, random_state=shuffled)
    changed, expected = (judged(replace(made[name], trials=rows)) for rows in (renamed, trials))
    exact = [NUMBERS.index(column) for column in ("estimate", "p", "median", "n")]
    by_point = [sorted(numbers(verdict)[:, exact].tolist(), key=repr) for verdict in (changed, expected)]
    np.testing.assert_allclose(*by_point, atol=1e-9)
    # A bootstrap draws other resamples of seeds that have other names; all else is the same to the last digits.
    np.testing.assert_allclose(np.sort(numbers(changed)[:, 1]), np.sort(numbers(expected)[:, 1]), atol=0.02)


@pytest.mark.parametrize("name", ["better", "trend"])
@given(scale=st.floats(0.1, 1.1))
@FEW
def test_differences_grow_with_the_scale_of_the_scores_and_p_does_not_change(made, name, scale):
    changed, plain = judged(with_scores(made[name], lambda values, _: values * scale)), judged(made[name])
    np.testing.assert_allclose(numbers(changed)[:, :3], numbers(plain)[:, :3] * scale, atol=1e-9)
    np.testing.assert_allclose(numbers(changed)[:, 3], numbers(plain)[:, 3])


@given(seed=st.integers(0, 2**32 - 1), lead=st.floats(-0.02, 0.02))
@FEW
def test_what_supports_a_claim_refutes_its_opposite(made, seed, lead):
    results = made["better"]
    drawn = alike(results.trials, np.random.default_rng(seed))["test_accuracy"] + lead * (
        results.trials["norm"] == "batch"
    )
    results = replace(results, trials=results.trials.assign(test_accuracy=drawn))
    ours, theirs = (judged(results, Claim.better(a, than=b, lr=0.1)) for a, b in (("batch", "none"), ("none", "batch")))
    opposite = {"supported": "refuted", "refuted": "supported", "undecided": "undecided"}
    assert theirs.word == opposite[ours.word]
    assert ours.comparisons[0].estimate == pytest.approx(-theirs.comparisons[0].estimate)
    assert ours.comparisons[0].p == theirs.comparisons[0].p
