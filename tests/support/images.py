"""Data to train on in tests: small images, of which no two sizes are equal."""

import numpy as np

from harness.data.datasets import Dataset


def small_images(examples: int, train: int, val: int, *, apart: float = 1.0, dtype: str = "float64") -> Dataset:
    """Noisy images of three kinds, 1 x 6 x 5 pixels; so many to train on and to validate, the others to test."""
    rng = np.random.default_rng(0)
    y = np.arange(examples) % 3
    x = (rng.standard_normal((examples, 1, 6, 5)) + apart * y[:, None, None, None]).astype(dtype)
    parts = {"train": slice(0, train), "val": slice(train, train + val), "test": slice(train + val, None)}
    return Dataset(
        name="small",
        x={s: x[p] for s, p in parts.items()},
        y={s: y[p].astype(np.int64) for s, p in parts.items()},
        classes=3,
    )
