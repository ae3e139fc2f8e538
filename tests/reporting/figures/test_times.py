"""The figure of the time to a target: it says of a failed trial what the verdict says."""

from harness.reporting.figures.curves import time_to_target
from harness.spec.claim import Claim
from tests.support.simulated import simulate
from tests.support.verdicts import NORMS


def test_a_trial_that_reached_the_target_and_then_failed_has_not_arrived(tmp_path):
    results = simulate(tmp_path, {"norm": NORMS, "seed": range(8)}, claims=[Claim.sooner("batch", than="none")])
    results.trials["steps_to_target"] = 40
    results.trials["status"] = "ok"
    results.trials.loc[(results.trials["norm"] == "batch") & (results.trials["seed"] < 2), "status"] = "nonfinite"
    (drawn,) = time_to_target(results)
    (axes,) = drawn.figure.axes
    shares = {line.get_label(): line.get_ydata()[-1] for line in axes.get_lines()}
    assert (shares["batch"], shares["none"]) == (0.75, 1.0)
    assert "marks seeds that never did, which count as the whole budget" in drawn.caption
