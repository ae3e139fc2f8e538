"""A step by the size of the layers: where those of BLAS begin, and that nothing gets slower there."""

from dataclasses import replace

import pytest
from timing import STEPS, cohort_step, tutorial_step

from harness.spec.trial import Trial

WIDTHS = (16, 32, 64, 128, 256, 512)
CNNS = ("cnn-8-16", "cnn-16-32", "cnn-32-64", "cnn-64-128")
SHORTEST = 12  # steps
PLAIN = Trial(dataset="digits", model="mlp-16-16", lr=0.01, batch_size=32, steps=1, eval_every=10_000, device="cpu")
ROUNDS = 3


def compare(trial: Trial, models: int, count: int) -> tuple[float, float, float]:
    """Microseconds of a model's step: in a cohort, in one of stacked layers, and in the tutorial's loop.

    The three take turns, and the best of each counts.
    """
    cohort_step(trial, models, count=SHORTEST)
    rounds = [
        (
            cohort_step(trial, models, count=count),
            cohort_step(trial, models, "stacked", count),
            tutorial_step(trial, count),
        )
        for _ in range(ROUNDS)
    ]
    ours, stacked, loop = (min(times) for times in zip(*rounds, strict=True))
    return ours, stacked, loop


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("batch_size", [32, 256])
@pytest.mark.parametrize("width", WIDTHS)
def test_mlps_from_narrow_to_wide(size_row, width, batch_size, norm):
    trial = replace(PLAIN, model=f"mlp-{width}-{width}", norm=norm, batch_size=batch_size)
    models = min(64, max(4, 2048 // width))  # about as many as fit the cache
    count = max(SHORTEST, min(STEPS, STEPS * 32 * 64 // (width * batch_size)))
    size_row(trial, models, *compare(trial, models, count))


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("model", CNNS)
def test_cnns_from_narrow_to_wide(size_row, model, norm):
    trial, width = replace(PLAIN, model=model, norm=norm), int(model.rpartition("-")[2])
    models = min(26, max(4, 416 // width))
    size_row(trial, models, *compare(trial, models, max(SHORTEST, STEPS * 4 // width)))
