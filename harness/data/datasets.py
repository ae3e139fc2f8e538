"""Datasets: arrays, split once into training, validation and test examples, the same for every trial and seed.

To add a dataset: one entry in DATASETS, a function without arguments that returns arrays; where they must be downloaded
or need a package, an entry in SOURCES of downloads.py instead. The arrays are x and y, or x_train, y_train, x_test,
y_test and, if there is one, a validation split, x_val and y_val. A suite brings its own dataset as such a function, or
as an .npz file of such arrays. The dataset NAME of OpenML is `openml:NAME`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.array_files import read_npz
from harness.data.downloads import OPENML, SOURCES, Arrays, from_openml, home
from harness.data.splits import generator, shuffled_indices, train_test_split
from harness.errors import SuiteError, lookup
from harness.io import write_atomically

TEST_SHARE, VAL_SHARE = 0.3, 0.15  # of all examples, where the data have no split
SPLIT_SEED = 42


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Examples of any shape as float32, labels 0..classes-1 as int64, in three splits."""

    name: str
    x: Mapping[str, NDArray[np.floating[Any]]]  # split -> examples
    y: Mapping[str, NDArray[np.int64]]
    classes: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.x["train"].shape[1:]

    def size(self, split: str) -> int:
        """How many examples a split has."""
        return len(self.y[split])


def load_dataset(name: str, folder: Path, factories: Mapping[str, Callable[[], Any]]) -> Dataset:
    """The dataset of that name: a function of the suite's own, an .npz in its folder, one of DATASETS or of OpenML."""
    if name in factories:
        result = factories[name]()
        is_pair = isinstance(result, tuple) and len(result) == 2
        arrays = dict(zip(("x", "y"), result, strict=True)) if is_pair else result
        if not isinstance(arrays, Mapping):
            raise SuiteError(
                f"dataset {name!r} must return (x, y) or a dictionary of arrays, got {type(result).__name__}"
            )
    elif name.endswith(".npz"):
        arrays = read_npz(folder / name)
    else:
        return _load_by_name(name, home())
    return _validated(name, _split(name, arrays))


@lru_cache(maxsize=4)
def _load_by_name(name: str, home: Path) -> Dataset:  # noqa: ARG001 (in the cache's key: its files may differ)
    if not name.startswith(OPENML):
        return _validated(name, _split(name, lookup(DATASETS, name, "dataset")()))
    arrays = dict(_split(name, from_openml(name)))
    # In single precision the sum of a long column stops growing.
    mean, std = (function(arrays["x_train"], 0, np.float64).astype(np.float32) for function in (np.mean, np.std))
    for split in ("train", "val", "test"):  # features come in any unit
        arrays[f"x_{split}"] = (arrays[f"x_{split}"] - mean) / np.where(std > 0, std, 1.0)
    return _validated(name, arrays)


def save_for_report(dataset: Dataset, folder: Path | None) -> None:
    """Write two-dimensional data into a folder, where one is given, so that a report can draw them."""
    if folder is None or dataset.input_shape != (2,):
        return
    path = folder / f"{Path(dataset.name).stem}.npz"
    if not path.exists():
        file = BytesIO()
        np.savez(file, **{f"{axis}_{s}": getattr(dataset, axis)[s] for axis in "xy" for s in ("train", "test")})
        write_atomically(path, file.getvalue())


def _digits() -> Arrays:
    """1797 images of 8 x 8 pixels with values 0..1, 10 classes (UCI, by way of scikit-learn)."""
    rows = np.loadtxt(_package_folder("sklearn") / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    return {"x": rows[:, :-1].reshape(-1, 1, 8, 8) / 16, "y": rows[:, -1].astype(int)}


def _package_folder(name: str) -> Path:
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
    **{name: source.load for name, source in SOURCES.items()},
}


def _split(name: str, arrays: Arrays) -> Arrays:
    """Arrays for all three splits; those that are missing are split off the others, stratified by class."""
    val_share = VAL_SHARE
    if set(arrays) == {"x", "y"}:
        parts = _train_test_split(name, arrays["x"], arrays["y"], TEST_SHARE)
        arrays = dict(zip(("x_train", "x_test", "y_train", "y_test"), parts, strict=True))
        val_share = VAL_SHARE / (1 - TEST_SHARE)
    needed = {"x_train", "y_train", "x_test", "y_test"}
    if not needed <= set(arrays):
        raise SuiteError(f"dataset {name!r} needs x and y, or {', '.join(sorted(needed))}; it has {', '.join(arrays)}")
    if not {"x_val", "y_val"} <= set(arrays):
        parts = _train_test_split(name, arrays["x_train"], arrays["y_train"], val_share)
        arrays = {**arrays, **dict(zip(("x_train", "x_val", "y_train", "y_val"), parts, strict=True))}
    return arrays


def _train_test_split(name: str, x: NDArray[Any], y: NDArray[Any], share: float) -> list[Any]:
    try:
        return train_test_split(x, y, share, SPLIT_SEED)
    except ValueError as error:
        raise SuiteError(f"dataset {name!r} can't be split: {error}") from error


def _validated(name: str, arrays: Arrays) -> Dataset:
    splits = ("train", "val", "test")
    try:
        x = {split: np.ascontiguousarray(arrays[f"x_{split}"], dtype=np.float32) for split in splits}
        labels = {split: np.asarray(arrays[f"y_{split}"]) for split in splits}
        y = {split: label.astype(np.int64) for split, label in labels.items()}
    except (TypeError, ValueError) as error:
        raise SuiteError(f"dataset {name!r} must hold numbers: {error}") from error
    for split in splits:
        _check_split(f"dataset {name!r}, {split} split", x[split], y[split], labels[split], x["train"].shape[1:])
    classes = int(max(label.max() for label in y.values())) + 1
    if not 2 <= classes <= 100_000:
        raise SuiteError(f"dataset {name!r} must have labels 0, 1, ..., got {classes} classes")
    return Dataset(name=name, x=x, y=y, classes=classes)


def _check_split(
    where: str, x: NDArray[np.floating[Any]], y: NDArray[np.int64], labels: NDArray[Any], shape: tuple[int, ...]
) -> None:
    if y.ndim != 1 or len(x) != len(y) or len(y) < 2:
        raise SuiteError(f"{where}: needs one label for each of two examples or more, got {x.shape} and {y.shape}")
    if x.ndim < 2 or not x.size:
        raise SuiteError(f"{where}: each example must be an array of a number or more, got x of shape {x.shape}")
    if x.shape[1:] != shape:
        raise SuiteError(f"{where}: examples must have one shape in all splits, got {x.shape[1:]} and {shape}")
    if not np.isfinite(x).all():
        raise SuiteError(f"{where}: holds NaN or infinite values; fill or leave out these examples")
    if (y != labels).any() or y.min() < 0:
        raise SuiteError(f"{where}: labels must be whole numbers from 0 up, got {labels.min()} to {labels.max()}")
