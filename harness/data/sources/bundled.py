"""Datasets that are known by a name: those that come with packages or are drawn, and those that are downloaded.

To add one: an entry in DATASETS, a function without arguments that returns arrays; where they must be downloaded or
need a package, an entry in SOURCES of downloads.py instead.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.downloads import SOURCES, Arrays
from harness.data.splits import generator, shuffled_indices


def _digits() -> Arrays:
    """1797 images of 8 x 8 pixels with values 0..1, 10 classes (UCI, by way of scikit-learn)."""
    rows = np.loadtxt(package_folder("sklearn") / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    return {"x": rows[:, :-1].reshape(-1, 1, 8, 8) / 16, "y": rows[:, -1].astype(int)}


def _diabetes() -> Arrays:
    """442 patients, ten measurements of each, and how much worse a year later (Efron et al. 2004, by scikit-learn).

    Measurements and target are in deviations from their mean, which is 152 of the target, with a deviation of 77.
    """
    folder = package_folder("sklearn") / "datasets" / "data"
    x, y = (np.loadtxt(folder / f"diabetes_{part}.csv.gz") for part in ("data_raw", "target"))
    return {name: (array - array.mean(0)) / array.std(0) for name, array in (("x", x), ("y", y))}


def _topics() -> Arrays:
    """2000 drawn documents: how often each of 20 words is in them, and which of 5 topics they are about, 2 on average.

    Counts are in deviations from their mean.
    """
    from sklearn.datasets import make_multilabel_classification

    x, y = make_multilabel_classification(2000, n_features=20, n_classes=5, n_labels=2, random_state=42)
    return {"x": (x - x.mean(0)) / x.std(0), "y": y}


def package_folder(name: str) -> Path:
    """Where a package lies. It is not loaded: scikit-learn takes a second."""
    spec = find_spec(name)
    assert spec is not None and spec.origin is not None  # noqa: PT018
    return Path(spec.origin).parent


def _circles() -> Arrays:
    """Two rings: 1400 points to train and 600 to test, split as in the tutorial, and 600 more to validate."""
    (x, y), (x_val, y_val) = _two_circles(2000, seed=42), _two_circles(600, seed=43)
    train, test = shuffled_indices(len(y), 0.3, seed=42)
    return {
        "x_train": x[train],
        "y_train": y[train],
        "x_val": x_val,
        "y_val": y_val,
        "x_test": x[test],
        "y_test": y[test],
    }


def _two_circles(examples: int, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Points on two circles and which of them they are on: `make_circles(examples, noise=0.1, factor=0.4)`."""
    rng, angles = generator(seed), np.linspace(0, 2 * np.pi, examples // 2, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    x, y = np.concatenate([circle, circle * 0.4]), np.repeat([0, 1], examples // 2)
    order = np.arange(examples)
    rng.shuffle(order)
    return x[order] + rng.normal(scale=0.1, size=x.shape), y[order]


DATASETS: dict[str, Callable[[], Arrays]] = {
    "digits": _digits,
    "circles": _circles,
    "diabetes": _diabetes,
    "topics": _topics,
    **{name: source.load for name, source in SOURCES.items()},
}
