"""Datasets before anything is trained on them: that they are the same each time, and what becomes of their labels."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.datasets import Dataset, load_dataset
from harness.data.labels import shown_labels
from harness.data.settings import DEFAULT, DataSettings
from harness.data.sources.bundled import DATASETS
from harness.data.sources.texts import TEXTS
from harness.data.streamed import StreamedExamples
from harness.errors import NO_ERRORS, HarnessError, SuiteError, error_line, name_is_taken


def load_twice(
    name: str, folder: Path, factories: Mapping[str, Callable[[], Any]], settings: DataSettings = DEFAULT
) -> Dataset:
    """The dataset of that name; one that the suite brings is made twice, since every worker makes it anew."""
    is_custom = name in factories
    if is_custom and (name in DATASETS or name in TEXTS):
        raise name_is_taken("a dataset", name)
    try:
        digest = _digest(load_dataset(name, folder, factories, settings)) if is_custom else None
        dataset = load_dataset(name, folder, factories, settings)
    except (HarnessError, *NO_ERRORS):
        raise
    except BaseException as error:  # a function of the suite's own may raise anything
        raise SuiteError(f"dataset {name!r} can't be loaded: {error_line(error)}") from error
    if digest not in (None, _digest(dataset)):
        # The arms would be trained on different data.
        raise SuiteError(f"dataset {name!r} is not deterministic; draw it from a generator with a fixed seed")
    return dataset


def label_notes(datasets: Iterable[Dataset]) -> Iterator[str]:
    """What the labels of each dataset are learnt as, where they are not 0, 1, ... already."""
    for dataset in datasets:
        if dataset.labels:
            yield (
                f"dataset {dataset.name!r}: the labels {shown_labels(dataset.labels)} are learnt as classes 0 to "
                f"{dataset.classes - 1}; predictions come back as labels"
            )


def _digest(dataset: Dataset) -> str:
    """A hash of all examples and labels: two datasets at once would be too much for memory.

    Some stand for all of those that stay on disk.
    """
    digest = hashlib.sha256(repr(dataset.labels).encode())
    for arrays in (dataset.x, dataset.y):
        for split in sorted(arrays):
            digest.update(repr(arrays[split].shape).encode())
            part = arrays[split]
            digest.update(np.ascontiguousarray(part.sample() if isinstance(part, StreamedExamples) else part).data)
    return digest.hexdigest()
