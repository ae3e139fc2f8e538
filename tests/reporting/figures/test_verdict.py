"""The figure of a verdict, and that of what is recovered."""

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.verdicts import verdicts
from harness.reporting.figures.recovered import recovered
from harness.reporting.figures.verdict import estimates
from harness.spec.claim import Claim
from tests.analysis.test_recovered import RECOVERS, SYNC, recovering
from tests.support.simulated import simulate

AXES = {"norm": ["batch", "none"], "lr": [0.1, 0.3, 1.0], "seed": range(7)}


def drawn_figures(results):
    return list(estimates(results, verdicts(results, np.random.default_rng(0))))


def with_accuracy(results, of):
    return replace(
        results,
        trials=results.trials.assign(status="ok", test_accuracy=[of(row) for row in results.trials.to_dict("records")]),
    )


def by_lr(row):
    """Batch leads by 30 points at lr 1, by 0 at 0.1, and lags by 30 at 0.3, give or take."""
    lead = {0.1: 0.0, 0.3: -0.3, 1.0: 0.3}[row["lr"]]
    return 0.6 + lead * (row["norm"] == "batch") + 0.01 * ((row["seed"] * 3 + (row["norm"] == "batch")) % 5)


def test_every_claim_has_a_figure_that_tells_its_points_apart(tmp_path):
    claim = Claim.better("batch", than="none", by=0.05)
    (drawn,) = drawn_figures(with_accuracy(simulate(tmp_path, AXES, claims=[claim]), by_lr))
    (axes,) = drawn.figure.axes
    marks = [line for line in axes.get_lines() if line.get_marker() in ("o", "X") and len(line.get_xdata()) == 1]
    assert [line.get_marker() for line in marks] == ["X", "X", "o"]  # refuted at 0.1 and 0.3, supported at 1
    assert [label.get_text() for label in axes.get_yticklabels()] == ["lr 0.1", "lr 0.3", "lr 1"]
    label = " ".join(drawn.figure.get_supxlabel().split())
    assert label == "difference in test accuracy, points (right: higher with batch)"
    assert any(np.allclose(line.get_xdata(), 5) for line in axes.get_lines())  # the margin in points
    assert "n = 7 pairs" in drawn.caption
    assert "Holm over 1" in drawn.caption


def test_with_too_few_seeds_it_has_no_interval_and_says_descriptive(tmp_path):
    results = simulate(tmp_path, {**AXES, "seed": range(3)}, claims=[Claim.better("batch", than="none", lr=0.1)])
    (drawn,) = drawn_figures(results)
    assert "descriptive" in drawn.caption
    assert not [
        line for line in drawn.figure.axes[0].get_lines() if len(line.get_xdata()) == 2 and line.get_lw() == 1.6
    ]


def test_without_pairs_there_is_none(tmp_path):
    assert drawn_figures(simulate(tmp_path, AXES, claims=[Claim.better("batch", than="none")], keep=0.0)) == [None]


@pytest.mark.parametrize("seeds", [2, 9])
def test_what_is_recovered_has_a_line_for_each_seed_over_three_columns(tmp_path, seeds):
    axes = {**SYNC, "seed": range(seeds)}
    values = recovering(0.9, 0.05, noise=0.004)
    (drawn,) = recovered(with_accuracy(simulate(tmp_path, axes, claims=[RECOVERS]), values))
    assert [panel.get_title() for panel in drawn.figure.axes] == ["world size 2", "world size 4"]
    lines = [line for line in drawn.figure.axes[1].get_lines() if len(line.get_xdata()) == 3]
    rows = [{"seed": seed, "world_size": 4} for seed in range(seeds)]
    expected = [
        [
            values({**row, **at})
            for at in ({"norm": "batch"}, {"norm": "sync_batch"}, {"norm": "batch", "world_size": 1})
        ]
        for row in rows
    ]
    np.testing.assert_allclose([line.get_ydata() for line in lines if line.get_lw() == 0.7], expected)
    assert f"n = {seeds} seeds" in drawn.caption
