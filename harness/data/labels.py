"""Labels: what names the classes of data, any whole numbers or text, and the numbers 0, 1, ... that stand for them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.arrays import as_array
from harness.errors import SuiteError
from harness.text import lost_in_tables, printable

Label = int | str | bool
FORMULA = "=+-@"  # what begins a formula in a spreadsheet, so that tables escape it
KINDS = {"U": "text", "b": "booleans"}  # kind of dtype -> in words; all others are whole numbers
WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")  # as Python writes it, of 64 bits
MAX_CLASSES = 100_000
MAX_SHOWN = 10  # labels in a message


def as_labels(where: str, value: Any) -> NDArray[Any]:
    """One label for each example: whole numbers (int64), booleans, or text; SuiteError where one is anything else."""
    y = as_array(where, value)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        remedy = "; of one-hot labels give .argmax(1), several labels are of task='multilabel'" if y.ndim == 2 else ""
        raise SuiteError(f"{where}: needs one label for each example, got an array of shape {y.shape}{remedy}")
    if y.dtype.kind == "O":
        y = _from_objects(where, y)
    if y.dtype.kind == "f":
        y = _from_floats(where, y)
    if y.dtype.kind in "SUT":
        return _from_text(where, y)
    if y.dtype.kind not in "iub":
        raise SuiteError(f"{where}: labels must be whole numbers or text, got {y.dtype!s:.50}")
    if y.dtype.kind == "u" and len(y) and y.max() > np.iinfo(np.int64).max:
        raise SuiteError(f"{where}: labels must be whole numbers below 2**63, got {y.max()}")
    return y if y.dtype.kind == "b" else y.astype(np.int64)


def _from_objects(where: str, y: NDArray[Any]) -> NDArray[Any]:
    """Labels of one type, of an array that may hold any."""
    kinds = {str if isinstance(label, str) else type(label) for label in y}
    if len(kinds) == 1 and kinds <= {str, int, bool}:
        return np.array(y.tolist())
    first = next((i for i, label in enumerate(y) if type(label) not in (str, int)), 0)
    raise SuiteError(
        f"{where}: labels must be whole numbers or text, and all of one type, got {type(y[first]).__name__} "
        f"{y[first]!r:.50} at [{first}]"
    )


def _from_floats(where: str, y: NDArray[Any]) -> NDArray[np.int64]:
    is_whole = np.isfinite(y) & (np.abs(y) < 2**53)
    is_whole[is_whole] = y[is_whole] % 1 == 0
    if not is_whole.all():
        first = int((~is_whole).argmax())
        raise SuiteError(
            f"{where}: labels must be whole numbers or text, got {y[first]!s} at [{first}]; numbers are of "
            "task='regression'"
        )
    return y.astype(np.int64)


def _from_text(where: str, y: NDArray[Any]) -> NDArray[Any]:
    """Names of classes; text that tables give back as whole numbers, or as truth values, is that."""
    try:
        text = np.char.decode(y, "utf-8") if y.dtype.kind == "S" else y.astype(np.str_)
    except UnicodeDecodeError as error:
        raise SuiteError(f"{where}: labels that are text must be UTF-8: {error}") from error
    names = np.unique(text).tolist()
    if all(WHOLE_NUMBER.fullmatch(name) for name in names):
        return text.astype(np.int64)
    if set(names) <= {"True", "False"}:
        return np.array(text == "True")
    return text


def classes_of(where: str, labels: Mapping[str, NDArray[Any]]) -> tuple[Label, ...]:
    """The classes of a dataset in their order, each split's labels given: what any of them holds.

    SuiteError where labels of several types are mixed, an example has a class that no training example has, or tables
    would not give a name back.
    """
    kinds = {split: KINDS.get(y.dtype.kind, "whole numbers") for split, y in labels.items()}
    if len(set(kinds.values())) > 1:
        mixture = ", ".join(f"{kind} in {split}" for split, kind in kinds.items())
        raise SuiteError(f"{where}: labels must be of one type, got {mixture}")
    names = {split: np.unique(y) for split, y in labels.items()}
    classes = np.unique(np.concatenate(list(names.values())))
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise SuiteError(
            f"{where}: needs 2 to {MAX_CLASSES} classes, got {len(classes)}: {shown_labels(classes.tolist())}"
        )
    for name in classes.tolist() if classes.dtype.kind == "U" else ():
        if reason := lost_in_tables(name):
            raise SuiteError(f"{where}: {reason}; call the class something else")
        if name[0] in FORMULA or not name.isprintable():
            raise SuiteError(f"{where}: a class called {name!r:.50} is escaped in tables; call it something else")
    for split, having in names.items():
        unknown = np.setdiff1d(having, names.get("train", classes))
        if len(unknown):
            count = int(np.isin(labels[split], unknown).sum())
            raise SuiteError(
                f"{where}: {count} examples of the {split} split have a label that no training example has: "
                f"{shown_labels(unknown.tolist())}"
            )
    return tuple(classes.tolist())


def class_indices(y: NDArray[Any], classes: Sequence[Label]) -> NDArray[np.int64]:
    """The labels as 0, 1, ...: each its place among the classes, which it must be one of."""
    return np.searchsorted(np.array(classes), y).astype(np.int64)


def are_plain(classes: Sequence[Label]) -> bool:
    """Whether labels are 0, 1, ... already."""
    return all(type(label) is int and label == i for i, label in enumerate(classes))


def shown_labels(classes: Sequence[Label]) -> str:
    """The labels for a message: the first of them, and how many there are more."""
    shown = ", ".join(printable(str(label)) for label in classes[:MAX_SHOWN])
    return f"{shown} and {len(classes) - MAX_SHOWN} more" if len(classes) > MAX_SHOWN else shown
