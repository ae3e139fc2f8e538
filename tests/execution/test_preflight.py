"""What is found out about each kind of trial before any is trained."""

import numpy as np

from harness.execution import cohort_size, preflight
from harness.execution.messages import PreflightRequest

SUITE = """
from harness import Suite
suite = Suite(dataset="images.npz", model="resnet-8", norm="batch", lr=0.1, batch_size=20, steps=1, seed=[0, 1])
"""


def test_for_a_model_that_trains_alone_no_faster_mode_is_looked_for(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "images.npz", x=rng.standard_normal((60, 3, 32, 32)), y=np.arange(60) % 3)
    (tmp_path / "large.py").write_text(SUITE)
    asked = []

    def select(*_, in_turn):
        asked.append(in_turn)
        return "loop", ""

    monkeypatch.setattr(preflight, "select_backend", select)
    for cache, in_turn in ((2**20, True), (2**34, False)):
        for module in (preflight, cohort_size):
            monkeypatch.setattr(module, "cache_bytes", lambda cache=cache: cache)
        (kind,) = preflight.preflight(
            PreflightRequest(suite=tmp_path / "large.py", device="cpu", measure=False)
        ).estimates.values()
        assert asked.pop() == in_turn
        assert (kind.max_cohort_size == 1) == in_turn
