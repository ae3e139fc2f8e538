"""comparisons.csv: every number that a verdict shows can be had from it, and nothing else is needed to say it."""

import io
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from harness.analysis.comparison import Comparison, comparisons_frame
from harness.analysis.metrics import metrics_of
from harness.analysis.verdicts import verdicts
from harness.analysis.wording import sentence
from harness.spec.claim import Claim
from harness.storage.csv_files import csv_bytes
from tests.support.simulated import simulate

AXES = {"norm": ["batch", "none"], "lr": [0.03, 0.1, 0.3, 1.0], "batch_size": [16, 32, 64], "seed": range(10)}
SYNC = {"norm": ["batch", "sync_batch"], "lr": [0.1], "world_size": [1, 2, 4], "seed": range(10)}
CLAIMS = [
    (Claim.better("batch", than="none", by=0.01, lr=0.1), AXES),
    (Claim.more("batch", than="none", metric="test.loss", at="mean", by_factor=1.2, lr=[0.1, 0.3]), AXES),
    (Claim.less("batch", than="none", metric="train_loss", lr=1.0), AXES),
    (Claim.equivalent("batch", to="none", within=0.02, lr=[0.03, 1.0]), AXES),
    (Claim.matches("batch", published=0.96, within=0.02, lr=0.3), AXES),
    (Claim.wider_lr_range("batch", than="none"), AXES),
    (Claim.best_tuned("batch", than="none"), AXES),
    (Claim.trend("batch", than="none", along="batch_size"), AXES),
    (Claim.sooner("batch", than="none", lr=0.3), AXES),
    (Claim.costs("batch", than="none", at_most=2), AXES),
    (Claim.recovers("sync_batch", lost_by="batch", against={"world_size": 1}, world_size=[2, 4]), SYNC),
    (Claim.equivalent("sync_batch", to="batch", within=0.1, against={"world_size": 1}, world_size=4), SYNC),
]
TEXTS = [field.name for field in fields(Comparison) if field.type is str]


@pytest.mark.parametrize(("claim", "axes"), CLAIMS, ids=[f"{claim.kind} {axes is SYNC}" for claim, axes in CLAIMS])
def test_the_sentence_of_a_verdict_can_be_said_again_from_the_table_alone(tmp_path, claim, axes):
    results = simulate(tmp_path, axes, claims=[claim])
    lost = 0.03 * ((results.trials["norm"] == "batch") & (results.trials["world_size"] > 1))
    results = replace(results, trials=results.trials.assign(test_accuracy=results.trials["test_accuracy"] - lost))
    (verdict,) = verdicts(results, np.random.default_rng(0))
    frame = pd.read_csv(io.BytesIO(csv_bytes(comparisons_frame(verdict.comparisons))))
    frame[TEXTS] = frame[TEXTS].fillna("").astype(str)
    metrics = metrics_of(results.manifest)
    again = [Comparison(**row, definition=metrics[row["metric"]]) for row in frame.to_dict("records")]
    judged, beside = ([c for c in again if bool(c.verdict) == is_judged] for is_judged in (True, False))
    assert sentence(claim, judged, verdict.word, beside) == verdict.sentence
    assert any(np.isfinite(c.estimate) and c.n == 10 for c in judged) or claim.kind == "costs"
