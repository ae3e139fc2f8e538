"""Datasets as they are looked at before anything is trained on them."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.datasets import DATASETS, Dataset, load_dataset
from harness.errors import NO_ERRORS, HarnessError, SuiteError, error_line


def checked_dataset(name: str, folder: Path, functions: Mapping[str, Callable[..., Any]]) -> Dataset:
    """The dataset of that name; one that the suite brings is made twice, since every worker makes it anew."""
    is_custom = name in functions
    if is_custom and name in DATASETS:
        raise SuiteError(f"a dataset of the suite's own can't be called {name!r}: there is one already")
    try:
        digest = _digest(load_dataset(name, folder, functions)) if is_custom else None
        dataset = load_dataset(name, folder, functions)
    except (HarnessError, *NO_ERRORS):
        raise
    except BaseException as error:  # a function of the suite's own may raise anything
        raise SuiteError(f"dataset {name!r} can't be loaded: {error_line(error)}") from error
    if digest not in (None, _digest(dataset)):
        # The arms would be trained on different data.
        raise SuiteError(f"dataset {name!r} is not deterministic; draw it from a generator with a fixed seed")
    return dataset


def _digest(dataset: Dataset) -> str:
    """A hash of all examples and labels: two datasets at once would be too much for memory."""
    digest = hashlib.sha256(repr(dataset.labels).encode())
    for arrays in (dataset.x, dataset.y):
        for split in sorted(arrays):
            digest.update(repr(arrays[split].shape).encode())
            digest.update(np.ascontiguousarray(arrays[split]).data)
    return digest.hexdigest()
