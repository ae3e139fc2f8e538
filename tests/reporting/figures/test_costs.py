"""The picture of step times: a mark for each arm at each grid point, in milliseconds."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text

from harness.reporting.figures.costs import step_costs
from harness.spec.claim import Claim
from tests.support.manifests import declared
from tests.support.simulated import simulate

SEEDS = 7
MS = {("batch", 8): 3.0, ("none", 8): 2.0, ("batch", 32): 9.0, ("none", 32): 4.0}
CLAIMS = [Claim.costs("batch", than="none", at_most=2.0), Claim.costs("none", than="batch", at_most=1.0)]


@pytest.fixture
def results(tmp_path):
    axes = {"norm": ["batch", "none"], "batch_size": [8, 32], "seed": range(SEEDS)}
    results = simulate(tmp_path, axes, lr=0.1, claims=CLAIMS)
    trials = results.trials
    noise = np.exp(np.random.default_rng(3).normal(0, 0.1, len(trials)))
    times = [MS[norm, size] for norm, size in zip(trials["norm"], trials["batch_size"], strict=True)] * noise
    telemetry = results.telemetry.set_index("key").assign(step_ms=dict(zip(trials["key"], times, strict=True)))
    return replace(results, telemetry=telemetry.reset_index())


def marks(drawn):
    """Where the marks are: x and y of each."""
    (axes,) = drawn.figure.axes
    return [line.get_xydata()[0] for line in axes.lines if line.get_marker() == "o"]


def test_all_claims_on_costs_share_one_picture_with_a_mark_for_each_arm_at_each_grid_point(results):
    (drawn,) = step_costs(results)
    assert drawn.name == "costs"
    places = marks(drawn)
    assert len({tuple(place) for place in places}) == 4
    assert len({y for _, y in places}) == 4, "side by side: neither arm hides the other"
    times = results.telemetry.set_index("key")["step_ms"]
    measured = results.trials.assign(log=np.log(results.trials["key"].map(times)))
    means = np.exp(measured.groupby(["batch_size", "norm"])["log"].mean())
    np.testing.assert_allclose([x for x, _ in places], [means[n, arm] for n in (8, 32) for arm in ("batch", "none")])
    assert "n = 7 measurements" in drawn.caption


def test_an_arm_without_a_time_at_the_first_grid_point_is_in_the_legend_too(results):
    rows = results.trials.set_index("key").loc[results.telemetry["key"]]
    is_missing = ((rows["norm"] == "none") & (rows["batch_size"] == 8)).to_numpy()
    telemetry = results.telemetry.assign(step_ms=results.telemetry["step_ms"].mask(is_missing))
    (drawn,) = step_costs(replace(results, telemetry=telemetry))
    (axes,) = drawn.figure.axes
    assert len(marks(drawn)) == 3
    assert sorted(axes.get_legend_handles_labels()[1]) == ["batch", "none"]


def test_trials_that_trained_together_are_one_measurement(results):
    shared = results.telemetry.assign(step_ms=results.telemetry["step_ms"].iloc[0])
    (drawn,) = step_costs(replace(results, telemetry=shared))
    (axes,) = drawn.figure.axes
    assert "n = 1 measurement, " in drawn.caption
    assert not [line for line in axes.lines if line.get_lw() == 1.6], "one measurement has no interval"


def test_without_a_claim_on_costs_or_a_time_there_is_no_picture(results):
    plain = replace(results.manifest, claims=declared(Claim.better("batch", than="none")))
    assert list(step_costs(replace(results, manifest=plain))) == []
    assert list(step_costs(replace(results, telemetry=results.telemetry.assign(step_ms=np.nan)))) == []


def test_the_label_of_the_times_is_not_cut_off_beside_the_names_of_many_axes(results):
    axes = {**results.manifest.axes, "model": ["mlp-512x4"], "optimizer": ["sgd"]}
    trials = results.trials.assign(model="mlp-512x4")
    (drawn,) = step_costs(replace(results, manifest=replace(results.manifest, axes=axes), trials=trials))
    drawn.lay_out()
    (label,) = (text for text in drawn.figure.findobj(Text) if "time of a step" in text.get_text())
    extent, figure = label.get_window_extent(), drawn.figure.bbox
    assert figure.x0 <= extent.x0
    assert extent.x1 <= figure.x1
