"""Verdicts on results whose values a test gives: a few arms, sizes and learning rates, and the luck of each seed."""

from dataclasses import replace

import numpy as np

from harness.analysis.verdicts import verdicts
from tests.support.simulated import simulate

SEEDS = 9
NORMS = ["batch", "none"]
SIZES = [4, 16, 32, 128]
LRS = [0.01, 0.03, 0.1, 0.3, 1.0]


def luck(scale=0.004, shape=(2, 4, SEEDS), seed=3):
    return np.random.default_rng(seed).normal(0, scale, shape)


def judged(folder, axes, claim, values, **columns):
    """The verdict on the claim where test accuracy is values(row), other columns likewise, all having trained."""
    results = simulate(folder, axes, claims=[claim])
    trials = results.trials.assign(status="ok")
    for column, value_in in {"test_accuracy": values, **columns}.items():
        trials[column] = [value_in(row) for row in trials.to_dict("records")]
    return verdict_on(replace(results, trials=trials))


def verdict_on(results):
    (verdict,) = verdicts(results, np.random.default_rng(0))
    return verdict
