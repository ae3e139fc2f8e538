"""What `plan` says of claims and figures before anything is trained."""

import re
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from harness.reporting.planning.designs import claim_lines
from harness.spec.claim import Claim
from harness.spec.cohorts import Cohort
from tests.support.manifests import declared, manifest_of
from tests.support.records import a_trial

NORMS, RATES, SIZES = ("batch", "layer", "none"), (0.1, 0.2, 0.3), (8, 64)
POINTS = list(product(NORMS, RATES, SIZES))


@given(st.sets(st.sampled_from(POINTS), min_size=1).filter(lambda points: len({norm for norm, *_ in points}) > 1))
def test_figures_test_what_two_arms_share_at_the_learning_rates_of_one_point(points):
    order = [point for point in POINTS if point in points]
    manifest = manifest_of([a_trial(norm=norm, lr=lr, batch_size=size) for norm, lr, size in order])
    arms = list(dict.fromkeys(norm for norm, *_ in order))
    than = "none" if "none" in arms else arms[-1]
    of_figures = [(lr, size) for lr, size in product(RATES, SIZES)]
    is_over_lr = len({lr for _, lr, _ in order}) > 1
    counts = [
        sum(
            (arm, *at) in points and (than, *at) in points
            for arm in arms
            if arm != than
            for at in of_figures
            if not is_over_lr or at[1] == size
        )
        for size in SIZES
    ]
    found = [re.match(r"figures test up to (\d+) comparisons? at once", line) for line in claim_lines(manifest, [], {})]
    assert [int(match[1]) for match in found if match] == [n for n in [max(counts)] if n]


def test_the_times_that_a_cost_has_are_those_at_its_own_grid_points():
    # Two cohorts at world size 1, of which the claim says nothing, were taken for all that it has
    trials = [
        a_trial(norm=n, world_size=w, seed=s, batch_size=8) for n, w, s in product(("batch", "none"), (1, 2), range(20))
    ]
    claim = Claim.costs("batch", than="none", at_most=2.0, world_size=2)
    fused = [Cohort(tuple(t for t in trials if t.world_size == 1 and t.seed // 10 == half)) for half in (0, 1)]
    cohorts = fused + [Cohort((trial,)) for trial in trials if trial.world_size == 2]
    lines = [*claim_lines(manifest_of(trials, claims=declared(claim)), cohorts, {})]
    assert lines[0].startswith("claim 1 (costs): 20 measurements decide it")
