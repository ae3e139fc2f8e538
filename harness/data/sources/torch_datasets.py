"""A torch Dataset as arrays: its items are read once, in their order."""

import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.arrays import as_array
from harness.data.streamed import ItemReader, Streamed
from harness.errors import SuiteError

ITEMS_READ_TWICE = 8
SEND_SECONDS = 5e-9  # that a byte takes from one process to another, as in docs/measurements.md
DRAWS = "items are read once, so leave out what draws; augment='flip+crop' moves and mirrors images anew in each epoch"


def is_torch_dataset(value: Any) -> bool:
    """Whether a value is a Dataset of torch, which then has been loaded by whoever made it."""
    utils = sys.modules.get("torch.utils.data")
    return utils is not None and isinstance(value, utils.Dataset)


def dataset_arrays(where: str, given: Any) -> tuple[Any, NDArray[Any]]:
    """The examples and targets of a map-style Dataset; SuiteError where it has none, or draws them anew each time.

    All items are gone through, but of those that are Streamed the targets alone are kept.
    """
    dataset = given.source if isinstance(given, Streamed) else given
    if isinstance(dataset, sys.modules["torch.utils.data"].IterableDataset) or not hasattr(dataset, "__len__"):
        raise SuiteError(
            f"{where}: {type(dataset).__name__} has no length or no order; give a Dataset with __len__ and "
            "__getitem__, or return its items as arrays"
        )
    count = len(dataset)
    if not count:
        raise SuiteError(f"{where}: {type(dataset).__name__} is empty")
    first = _item(where, dataset, 0)[0]
    x = None if isinstance(given, Streamed) else np.empty((count, *first.shape), first.dtype)
    read_again = dict.fromkeys(np.linspace(0, count - 1, min(count, ITEMS_READ_TWICE)).astype(int).tolist(), first)
    targets: list[NDArray[Any]] = []
    started = time.perf_counter()
    for i in range(count):
        example, target = _item(where, dataset, i)
        if example.shape != first.shape:
            raise SuiteError(
                f"{where}: item {i} has the shape {example.shape} and item 0 {first.shape}; give all items one shape"
            )
        if targets and target.shape != targets[0].shape:
            raise SuiteError(
                f"{where}: the target of item {i} has the shape {target.shape} and that of item 0 {targets[0].shape}; "
                "give all targets one shape"
            )
        if x is not None:
            x[i] = example
        if i in read_again:
            read_again[i] = example.astype(first.dtype)
        targets.append(target)
    seconds = (time.perf_counter() - started) / count
    for i, before in read_again.items():
        example, target = _item(where, dataset, i)
        if not (_are_same(example, before) and _are_same(target, targets[i])):
            raise SuiteError(f"{where}: item {i} is not the same when it is read again; {DRAWS}")
    if x is not None:
        return x, np.stack(targets)
    num_workers = given.num_workers if given.num_workers is not None else int(seconds > SEND_SECONDS * first.nbytes)

    def read(rows: list[int]) -> NDArray[Any]:
        return _stacked(where, rows, [dataset[i][0] for i in rows]).astype(first.dtype, copy=False)

    return Streamed(ItemReader(read, (count, *first.shape), first.dtype, num_workers)), np.stack(targets)


def _item(where: str, dataset: Any, i: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """An example and its target."""
    item = dataset[i]
    if isinstance(item, Mapping) or not (isinstance(item, tuple | list) and len(item) == 2):
        what = f"{len(item)} parts" if isinstance(item, tuple | list) else f"a {type(item).__name__}"
        raise SuiteError(f"{where}: items must be pairs (x, y), got {what} at item {i}; give another __getitem__")
    example, target = item
    if type(example).__module__.startswith("PIL."):
        raise SuiteError(
            f"{where}: item {i} is a picture of PIL; give a transform that makes it an array (channels, height, "
            "width), such as torchvision.transforms.ToTensor()"
        )
    return as_array(f"{where}, item {i}", example), _as_numpy(target)


def _stacked(where: str, rows: list[int], examples: list[Any]) -> NDArray[Any]:
    """The examples of some items as one array."""
    torch = sys.modules["torch"]
    if all(isinstance(example, torch.Tensor) for example in examples):
        return as_array(where, torch.stack(examples))
    return np.stack([as_array(f"{where}, item {i}", example) for i, example in zip(rows, examples, strict=True)])


def _as_numpy(target: Any) -> NDArray[Any]:
    return np.asarray(target.detach().cpu() if callable(getattr(target, "detach", None)) else target)


def _are_same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    is_float = one.dtype.kind in "fc"
    return bool(np.array_equal(one, other, equal_nan=is_float))
