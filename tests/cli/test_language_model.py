"""A language model through the real command line: stopped and gone on, and on two ranks."""

import pandas as pd
import pytest

SUITE = '''"""Does a language model train?"""

from harness import Suite

suite = Suite(
    task="sequence", dataset="products.txt", context=12, model="transformer-8x1", causal=True, norm="rms", lr=0.01,
    optimizer="adamw", batch_size=16, steps=24, eval_every=8, world_size=[1, 2],
)
'''


def tables(harness, results="results"):
    """All trials, and the curves of those on one rank."""
    folder = harness.folder / results / "tiny"
    trials = pd.read_csv(folder / "trials.csv").set_index("world_size")
    curves = pd.read_parquet(folder / "curves.parquet")
    return trials, curves[curves["key"] == trials.loc[1, "key"]].reset_index(drop=True)


def test_stopped_and_gone_on_it_is_that_of_a_run_in_one_go_and_that_of_two_ranks(harness, monkeypatch):
    text = "".join(f"{i} times {j} is {i * j}.\n" for i in range(20) for j in range(20))
    (harness.folder / "products.txt").write_text(text, "utf-8")
    harness.suite(SUITE)
    ran = harness("run", "tiny", "--progress", "none")
    assert ran.code == 0, ran.err
    trials, curves = tables(harness)
    one, two = trials["test_perplexity"][[1, 2]]
    assert one < 15
    assert two == pytest.approx(one, rel=1e-3)
    again = ("run", "tiny", "--executor", "in-process", "--progress", "none", "--results", "again")
    monkeypatch.setenv("HARNESS_FAULT", "sigterm@step:13")
    stopped = harness(*again, "--only", "world_size=1")
    assert stopped.code == 75, stopped.err
    assert any((harness.folder / "again" / "tiny" / "checkpoints").glob("*.snapshot"))
    monkeypatch.delenv("HARNESS_FAULT")
    assert harness(*again, "--only", "world_size=1").code == 0
    resumed, resumed_curves = tables(harness, "again")
    pd.testing.assert_series_equal(resumed.loc[1], trials.loc[1], check_exact=True)
    pd.testing.assert_frame_equal(resumed_curves, curves, check_exact=True)
