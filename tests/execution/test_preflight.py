"""What is found out about each kind of trial before any is trained."""

import numpy as np
import pytest

from harness.ensemble.native.build import library_or_error
from harness.errors import BuildError
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
    for limit, in_turn in ((2**20, True), (2**34, False)):
        monkeypatch.setattr(preflight, "LARGE_MODEL_BYTES", limit)
        monkeypatch.setattr(cohort_size, "cache_bytes", lambda limit=limit: limit)
        (kind,) = preflight.preflight(
            PreflightRequest(suite=tmp_path / "large.py", device="cpu", measure=False)
        ).estimates.values()
        assert asked.pop() == in_turn
        assert (kind.max_cohort_size == 1) == in_turn


@pytest.mark.parametrize(("model", "fits"), [("mlp-16", True), ("resmlp-16x2", False)])
def test_on_several_threads_models_share_a_cohort_where_compiled_code_shares_it_out(tmp_path, model, fits):
    if isinstance(library_or_error("double"), BuildError):
        pytest.skip("there is no native library")
    (tmp_path / "threads.py").write_text(
        SUITE.replace("images.npz", "digits").replace("resnet-8", model).replace("steps=1", "steps=1, threads=2")
    )
    request = PreflightRequest(suite=tmp_path / "threads.py", device="cpu", measure=False)
    (estimate,) = preflight.preflight(request).estimates.values()
    assert (estimate.max_cohort_size > 1) == fits
