"""What synchronised statistics recover of a loss, and arms at different grid points, all paired by seed."""

import numpy as np
import pytest

from harness.analysis import stats
from harness.spec.claim import Claim
from tests.support.verdicts import SEEDS, judged, luck

SYNC = {"norm": ["batch", "sync_batch"], "world_size": [1, 2, 4], "seed": range(SEEDS)}
RECOVERS = Claim.recovers(
    "sync_batch", lost_by="batch", against={"norm": "batch", "world_size": 1}, at_least=0.8, world_size=[2, 4]
)


def recovering(share, lost, noise=0.001):
    draws = luck(noise, (2, 3, SEEDS))

    def value(row):
        ranks = [1, 2, 4].index(row["world_size"])
        loss = lost * (ranks > 0) * (1 - share * (row["norm"] == "sync_batch"))
        return 0.95 - loss + draws[SYNC["norm"].index(row["norm"]), ranks, row["seed"]]

    return value


@pytest.mark.parametrize(
    ("share", "lost", "word"),
    [(1.0, 0.05, "supported"), (0.3, 0.05, "refuted"), (0.8, 0.05, "undecided"), (1.0, 0.0, "undecided")],
)
def test_the_share_recovered_decides_where_there_is_a_loss(tmp_path, share, lost, word):
    verdict = judged(tmp_path, SYNC, RECOVERS, recovering(share, lost))
    assert verdict.word == word
    assert ("no loss to recover" in verdict.sentence) == (lost == 0)


def test_the_three_columns_are_paired_by_seed_across_world_sizes(tmp_path):
    values = recovering(0.9, 0.05, noise=0.004)
    verdict = judged(tmp_path, SYNC, RECOVERS, values)
    shares = [c for c in verdict.comparisons if c.verdict]
    assert [c.point for c in shares] == ["world size 2", "world size 4"]
    rows = [{"seed": seed, "world_size": 4} for seed in range(SEEDS)]
    local, sync, big = (
        np.array([values({**row, **at}) for row in rows])
        for at in ({"norm": "batch"}, {"norm": "sync_batch"}, {"norm": "batch", "world_size": 1})
    )
    wide = stats.expanded_percentiles(SEEDS)
    expected = stats.recovered_fraction(local, sync, big, np.random.default_rng(0), wide)
    assert shares[1].estimate == pytest.approx(expected.estimate)
    assert (shares[1].low, shares[1].high) == pytest.approx((expected.low, expected.high), abs=0.01)
    beside = [c for c in verdict.comparisons if not c.verdict]
    lost, joint = beside[1], beside[3]
    assert (lost.arm, lost.than, lost.estimate) == (
        "batch at world size 1",
        "batch",
        pytest.approx((big - local).mean()),
    )
    assert joint.than == "batch at world size 1"
    expected = stats.equivalence_test(sync - big, np.zeros(SEEDS, bool), np.zeros(SEEDS, bool), 0.005, 0.15)
    assert joint.p_accuracy == pytest.approx(float(expected.p_accuracy))
    assert verdict.statement == (
        "sync_batch recovers more than 80 % of the test accuracy that batch loses against batch at world size 1, "
        "at world size 2 and 4"
    )


def test_local_statistics_that_do_better_are_no_loss(tmp_path):
    verdict = judged(tmp_path, SYNC, RECOVERS, recovering(1.0, -0.05))
    assert verdict.word == "undecided"
    assert "no loss to recover" in verdict.sentence


def test_arms_at_different_grid_points_are_paired_by_seed(tmp_path):
    big_batch = {"world_size": 1}
    claim = Claim.equivalent("sync_batch", to="batch", within=0.005, tau=0.3, against=big_batch, world_size=[2, 4])
    verdict = judged(tmp_path, SYNC, claim, recovering(1.0, 0.05))
    assert verdict.word == "supported"
    assert {(c.n, c.than) for c in verdict.comparisons} == {(SEEDS, "batch at world size 1")}
    assert judged(tmp_path, SYNC, claim, recovering(0.5, 0.05)).word == "refuted"
