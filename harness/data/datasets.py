"""Datasets: arrays, split once into training, validation and test examples, the same for every trial and seed.

Those known by a name stand in sources/bundled.py. Arrays are x and y, or x_train, y_train, x_test, y_test and, if there
is one, a validation split, x_val and y_val. A suite brings its own dataset as a function that returns such arrays, or
as a file beside it: each kind of file is read by one of sources/. The dataset NAME of OpenML is `openml:NAME`.

Targets are those of a task: labels, numbers, several labels, or a label for each position; see targets.py.

Labels are whole numbers or text, whatever they are; models learn classes 0, 1, ... in their order, and predictions come
back as labels. In a file they are whole numbers from 0 up: -1 there often marks examples that have no label.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.array_files import read_npz
from harness.data.arrays import as_float32, require_numbers
from harness.data.downloads import OPENML, from_openml, home
from harness.data.encodings import Encoding, scales_encoding, table_encoding, text_encoding
from harness.data.labels import Label, are_plain, class_indices, classes_of
from harness.data.settings import DEFAULT, DataSettings
from harness.data.sources.bundled import DATASETS
from harness.data.sources.image_folders import image_arrays
from harness.data.sources.returned import arrays_of
from harness.data.sources.tables import SUFFIXES as TABLE_SUFFIXES
from harness.data.sources.tables import Columns, read_table, scales, table_arrays
from harness.data.sources.texts import SUFFIX as TEXT_SUFFIX
from harness.data.sources.texts import TEXTS, read_text, text_arrays
from harness.data.splits import Indices, shuffled_indices, train_test_indices
from harness.data.streamed import Examples, StreamedExamples, array_or_streamed
from harness.data.targets import IGNORED, TARGETS, as_next_tokens, check_shapes, is_ignored
from harness.data.tokens import as_tokens, as_vocabulary
from harness.errors import SuiteError, lookup
from harness.spec.measured import SPLITS
from harness.spec.metric import WITH_CLASSES
from harness.spec.own_code.data_files import FOLDER, is_data_file, meant_by

TEST_SHARE, VAL_SHARE = 0.3, 0.15  # of all examples, where the data have no split
SPLIT_SEED = 42
MIN_SPLIT = 6  # examples that are split: two are left for each part
VOCABULARY, NEXT_TOKEN = "vocabulary", "next_token"  # what may stand beside the arrays: see Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Examples of any shape as float32, or tokens as int64; their targets; in three splits.

    Targets are classes 0, 1, ... as int64, "N", or "N L" where each position has one; or "N K" numbers as float32.
    """

    name: str
    x: Mapping[str, Examples]  # split -> examples
    y: Mapping[str, NDArray[Any]]
    classes: int  # 0 where the task has none
    labels: tuple[Label, ...] = ()  # what the data have for class 0, 1, ...; empty where that is 0, 1, ...
    vocabulary: int | None = None  # how many tokens there are, where examples are tokens 0, 1, ...
    next_token: bool = False  # whether the targets at each position are the tokens that follow it
    task: str = "classification"  # that the targets are of
    encoding: Encoding | None = None  # how examples are made of a table or a text: see encodings.py

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.x["train"].shape[1:]

    @property
    def outputs(self) -> int:
        """How many outputs a model has for these targets: at each position, where they are of positions."""
        return self.classes if self.task in WITH_CLASSES else int(self.y["train"].shape[1])

    def size(self, split: str) -> int:
        """How many examples a split has."""
        return len(self.y[split])


def load_dataset(
    name: str, folder: Path, factories: Mapping[str, Callable[[], Any]], settings: DataSettings = DEFAULT
) -> Dataset:
    """The dataset of that name: a function of the suite's own, a file in its folder, one of DATASETS or of OpenML."""
    dataset = _load(name, folder, factories, replace(settings, standardize=False))
    if not settings.standardize:
        return dataset
    if dataset.vocabulary is not None or any(isinstance(x, StreamedExamples) for x in dataset.x.values()):
        kind = "streamed" if dataset.vocabulary is None else "tokens"
        raise SuiteError(f"standardize=True needs numbers in memory, and dataset {name!r} is {kind}; leave it out")
    if dataset.encoding is not None:
        raise SuiteError(f"standardize=True: dataset {name!r} is standardised without it; leave it out")
    return _standardised(dataset, np.array(True), None)


def _load(name: str, folder: Path, factories: Mapping[str, Callable[[], Any]], settings: DataSettings) -> Dataset:
    is_known = name in {*factories, *DATASETS, *TEXTS} or is_data_file(name)
    if not is_known and (meant := meant_by(folder, name)):
        raise SuiteError(f"unknown dataset {name!r}; what lies beside the suite is called {meant!r}")
    is_text = name not in factories and (name in TEXTS or name.endswith(TEXT_SUFFIX))
    if settings.context != DEFAULT.context and not is_text:
        raise SuiteError(f"context={settings.context} is of texts, and dataset {name!r} is none; leave it out")
    if name in factories:
        arrays, columns = arrays_of(f"dataset {name!r}", factories[name](), settings.target_column)
        return _from_tables_or_arrays(name, arrays, columns, settings)
    if name.endswith(TABLE_SUFFIXES):
        table = {"": read_table(folder / name)}
        arrays, columns = table_arrays(f"dataset {name!r}", table, settings.target_column)
        return _from_tables_or_arrays(name, arrays, columns, settings)
    if settings.target_column:
        raise SuiteError(f"target_column={settings.target_column!r} is of tables, and dataset {name!r} is none")
    if is_text:
        text = TEXTS[name]() if name in TEXTS else read_text(folder / name)
        dataset = _make_dataset(name, text_arrays(text, settings.context), settings)
        return replace(dataset, encoding=text_encoding(text))
    if name.endswith(FOLDER):
        return _make_dataset(name, image_arrays(f"dataset {name!r}", folder / name), settings)
    if name.endswith(".npz"):
        return _make_dataset(name, read_npz(folder / name), settings, is_file=True)
    return _load_by_name(name, settings, home())


def _from_tables_or_arrays(
    name: str, arrays: Mapping[str, Any], columns: Columns | None, settings: DataSettings
) -> Dataset:
    """The dataset of these arrays, the numbers of a table standardised: its columns come in any unit."""
    dataset = _make_dataset(name, arrays, settings)
    return dataset if columns is None else _standardised(dataset, columns.is_number, columns)


def _standardised(dataset: Dataset, is_number: NDArray[np.bool_], columns: Columns | None) -> Dataset:
    """The dataset with numbers in deviations from their mean over the training examples."""
    mean, std = scales(np.asarray(dataset.x["train"]), is_number)
    x = {split: (np.asarray(values) - mean) / std for split, values in dataset.x.items()}
    encoding = scales_encoding(mean, std) if columns is None else table_encoding(columns, mean, std)
    return replace(dataset, x=x, encoding=encoding)


@lru_cache(maxsize=4)
def _load_by_name(
    name: str,
    settings: DataSettings,
    home: Path,  # noqa: ARG001 (in the cache's key: its files may differ)
) -> Dataset:
    if name.startswith(OPENML):
        return _standardised(_make_dataset(name, from_openml(name), settings), np.array(True), None)
    lookup(dict.fromkeys([*DATASETS, *TEXTS]), name, "dataset")
    return _make_dataset(name, DATASETS[name](), settings)


def _make_dataset(
    name: str, arrays: Mapping[str, Any], settings: DataSettings = DEFAULT, *, is_file: bool = False
) -> Dataset:
    """The dataset, its splits those given, the others split off these, each class by its share.

    Examples are read once, split by split: of a memory map no more gets into memory than what training takes. Those
    that stay on disk are read as they are needed.
    """
    where, task = f"dataset {name!r}", settings.task
    arrays = dict(arrays)
    vocabulary = as_vocabulary(where, arrays.pop(VOCABULARY)) if VOCABULARY in arrays else None
    next_token = bool(arrays.pop(NEXT_TOKEN, False))
    given = _given_splits(where, arrays)
    x = {split: array_or_streamed(f"{where}, x{suffix}", arrays[f"x{suffix}"]) for split, suffix in given.items()}
    if next_token:
        return _next_tokens(name, where, arrays, given, vocabulary)
    y = {split: TARGETS[task](f"{where}, y{suffix}", arrays[f"y{suffix}"]) for split, suffix in given.items()}
    check_shapes(where, y)
    for split, suffix in given.items():
        _check_split(f"{where}, x{suffix}", x[split], y[split], x["train"].shape[1:])
        if is_file and task in WITH_CLASSES:
            _check_file(f"{where}, y{suffix}", y[split][~is_ignored(y[split])])
    labels: tuple[Label, ...] = ()
    if task in WITH_CLASSES:
        labels = classes_of(where, {split: targets[~is_ignored(targets)] for split, targets in y.items()})
        y = {
            split: np.where(is_ignored(targets), IGNORED, class_indices(targets, labels))
            for split, targets in y.items()
        }
    rows = _rows_of_splits(where, y, labels)
    return Dataset(
        name=name,
        x={
            split: _examples(f"{where}, x{given[source]}", x[source], chosen, vocabulary)
            for split, (source, chosen) in rows.items()
        },
        y={split: y[source] if chosen is None else y[source][chosen] for split, (source, chosen) in rows.items()},
        classes=len(labels),
        labels=() if are_plain(labels) else labels,
        vocabulary=vocabulary,
        next_token=next_token,
        task=task,
    )


def _next_tokens(
    name: str, where: str, arrays: Mapping[str, Any], given: Mapping[str, str], vocabulary: int | None
) -> Dataset:
    """The dataset whose targets are tokens, at each position the one that follows: all three splits are given."""
    if vocabulary is None or given.keys() != set(SPLITS):
        raise SuiteError(
            f"{where}: next_token needs vocabulary, and x and y of all splits: x_train, x_val, x_test, ..."
        )
    x, y = (
        {
            split: read(f"{where}, {axis}{suffix}", arrays[f"{axis}{suffix}"], vocabulary)
            for split, suffix in given.items()
        }
        for axis, read in (("x", as_tokens), ("y", as_next_tokens))
    )
    for split, suffix in given.items():
        if x[split].shape != y[split].shape or x[split].shape[1] != x["train"].shape[1] or len(x[split]) < 2:
            raise SuiteError(
                f"{where}, y{suffix}: needs a token for each position of two examples or more, got {x[split].shape} "
                f"and {y[split].shape}"
            )
    return Dataset(name=name, x=x, y=y, classes=vocabulary, vocabulary=vocabulary, next_token=True, task="sequence")


def _examples(where: str, x: Examples, rows: Indices | None, vocabulary: int | None) -> Examples:
    if isinstance(x, StreamedExamples):
        return replace(x, rows=x.rows if rows is None else rows, vocabulary=vocabulary)
    return as_float32(where, x, rows) if vocabulary is None else as_tokens(where, x, vocabulary, rows)


def _given_splits(where: str, arrays: Mapping[str, Any]) -> dict[str, str]:
    """The splits that the arrays are of -> what their names end with: {"train": "_train", "test": "_test"}."""
    for given in (
        {"train": ""},
        {"train": "_train", "test": "_test"},
        {"train": "_train", "val": "_val", "test": "_test"},
    ):
        if set(arrays) == {f"{axis}{suffix}" for suffix in given.values() for axis in "xy"}:
            return given
    raise SuiteError(
        f"{where} needs x and y, or x_train, y_train, x_test, y_test, and x_val, y_val if it has them; "
        f"it has {', '.join(map(str, arrays))[:200]}"
    )


def _rows_of_splits(
    where: str, y: Mapping[str, NDArray[Any]], labels: Sequence[Label]
) -> dict[str, tuple[str, Indices | None]]:
    """For each split the one that was given to take it from, and which examples of it; None: all of them."""
    rows: dict[str, tuple[str, Indices | None]] = {split: (split, None) for split in y}
    train, val_share = np.arange(len(y["train"])), VAL_SHARE
    if "test" not in rows:
        train, test = _split_off(where, y["train"], labels, TEST_SHARE)
        rows["test"], val_share = ("train", test), VAL_SHARE / (1 - TEST_SHARE)
    if "val" not in rows:
        rest, val = _split_off(where, y["train"][train], labels, val_share)
        rows |= {"train": ("train", train[rest]), "val": ("train", train[val])}
    return {split: rows[split] for split in SPLITS}


def _split_off(where: str, y: NDArray[Any], labels: Sequence[Label], share: float) -> tuple[Indices, Indices]:
    """Which examples stay and which are split off; targets that are no classes, one an example, are shuffled alone."""
    if y.ndim > 1:
        if len(y) < MIN_SPLIT:
            raise SuiteError(f"{where} can't be split: it has {len(y)} examples, and needs {MIN_SPLIT} or more")
        return shuffled_indices(len(y), share, SPLIT_SEED)
    counts = np.bincount(y, minlength=len(labels))
    if len(lone := np.flatnonzero(counts == 1)):
        raise SuiteError(
            f"{where} can't be split: label {labels[lone[0]]} has one example, and training, validation and test "
            "examples of each are needed"
        )
    try:
        return train_test_indices(y, share, SPLIT_SEED)
    except ValueError as error:
        raise SuiteError(f"{where} can't be split: {error}") from error


def _check_split(where: str, x: Examples, y: NDArray[Any], shape: tuple[int, ...]) -> None:
    require_numbers(where, x.source if isinstance(x, StreamedExamples) else x)
    if len(x) != len(y) or len(y) < 2:
        raise SuiteError(f"{where}: needs a target for each of two examples or more, got {x.shape} and {y.shape}")
    if len(x.shape) < 2 or not math.prod(x.shape):
        raise SuiteError(f"{where}: each example must be an array of a number or more, got x of shape {x.shape}")
    if x.shape[1:] != shape:
        raise SuiteError(f"{where}: examples must have one shape in all splits, got {x.shape[1:]} and {shape}")


def _check_file(where: str, y: NDArray[Any]) -> None:
    """SuiteError where labels in a file are other than 0, 1, ...; gaps may be."""
    if y.dtype.kind == "U":
        raise SuiteError(
            f"{where}: labels in a file must be whole numbers, got text; save np.unique(y, return_inverse=True)[1], or "
            "let a function of the suite load the file"
        )
    if y.dtype.kind == "i" and y.min() < 0:
        raise SuiteError(
            f"{where}: labels in a file must be whole numbers from 0 up, got {y.min()}; leave out examples without a "
            "label, or let a function of the suite load the file"
        )
