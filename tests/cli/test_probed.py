"""A suite with probes: its curves, what `show` says of them, and that it goes on where it was stopped."""

import time

import pandas as pd
import pytest

PROBED = '''"""Is a tiny suite enough to try probes?"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits", model="mlp-16x4", activation="tanh", norm=["batch", "none"], lr=0.1, batch_size=50, seed=range(3),
    steps=STEPS, eval_every=20, probes=["gradients", "activations", "landscape"], probe_every=10,
    claims=[Claim.less("batch", than="none", metric="probe.saturated/4", at="mean")],
)
'''


def test_probes_become_curves_and_show_puts_each_in_a_row(harness):
    harness.suite(PROBED.replace("STEPS", "40"))
    ran = harness("run", "tiny", "--progress", "none")
    assert (ran.code, ran.err) == (0, "")
    curves = pd.read_parquet(harness.results / "tiny" / "curves.parquet").query("split == 'probe'")
    assert curves["metric"].nunique() == 5 + 1 + 4 * 6 + 6
    layers = curves["metric"].str.extract(r"^gradient_norm/(\d+)$")[0].dropna().astype(int)
    assert sorted(layers.unique()) == [1, 2, 3, 4, 5]
    assert set(curves["step"]) == {0, 10, 20, 30, 40}
    lines = harness("show", curves["key"].iloc[0]).out.splitlines()
    (row,) = [line for line in lines if "landscape_gradient_change_max" in line]  # the longest name, on 80 columns
    assert len(row.split("│")) == 2 + 1 + 3
    assert not [line for line in lines if "val" in line and "probe" in line]


@pytest.mark.slow
def test_an_interruption_leaves_the_curves_of_probes_as_they_are(harness, kill_all):
    harness.suite(PROBED.replace("STEPS", "300"))
    assert harness("run", "tiny", "--progress", "none").code == 0
    stopped = harness.start("run", "tiny", "--progress", "none", "--results", "again")
    while stopped.poll() is None and not list((harness.folder / "again").glob("tiny/checkpoints/*.snapshot")):
        time.sleep(0.05)
    kill_all(stopped) if stopped.poll() is None else stopped.communicate()
    assert harness("run", "tiny", "--progress", "none", "--results", "again").code == 0
    assert harness.tables(results="again") == harness.tables()
