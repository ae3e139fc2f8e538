"""Data that stay on disk: what of them trains is read batch by batch, and is to the bit what it is in memory."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from harness.data.arrays import as_array, rows_as_float32
from harness.data.splits import Indices
from harness.data.tokens import as_tokens
from harness.errors import SuiteError

MEMORY_SHARE = 0.25  # of the machine's memory that a memory map takes before it stays on disk by itself
SAMPLE = 64  # examples that stand for all, where a dataset is compared with the same made again


@dataclass(frozen=True, slots=True)
class Streamed:
    """Data that are read as training needs them: a memory map in the place of `x`, or a map-style torch Dataset.

    A function of a suite's own returns `Streamed(np.load("x.npy", mmap_mode="r")), y`, or `Streamed(dataset)`, which
    has the targets as well. A memory map that would take more than a quarter of the machine's memory is streamed
    without being asked for.

    Items are made by a process besides training where that takes longer than to send them, else by training itself,
    unless `num_workers` says how many processes are to make them.
    """

    source: Any
    num_workers: int | None = None  # as in torch's DataLoader: processes that make items


@runtime_checkable
class Readable(Protocol):
    """What examples are read from: an array of numpy, or what reads like one."""

    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """That of an array of all examples."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any) -> NDArray[Any]: ...


@dataclass(frozen=True, slots=True)
class ItemReader:
    """The examples of a map-style Dataset as an array of which only what is asked for is made."""

    examples: Callable[[list[int]], NDArray[Any]]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    num_workers: int  # processes that make examples; with 0, training does

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        chosen = np.arange(len(self))[rows].tolist()
        return self.examples(chosen) if chosen else np.empty((0, *self.shape[1:]), self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedExamples:
    """The examples of a split, in single precision or as tokens; each is checked as it is read."""

    where: str
    source: Readable
    rows: Indices  # of the source
    vocabulary: int | None

    @property
    def shape(self) -> tuple[int, ...]:
        """That of an array of these examples."""
        return len(self.rows), *self.source.shape[1:]

    @property
    def nbytes(self) -> int:
        """What they would take in memory."""
        return int(np.prod(self.shape)) * (4 if self.vocabulary is None else 8)

    @property
    def num_workers(self) -> int:
        """How many processes make the examples; with 0, training does."""
        return self.source.num_workers if isinstance(self.source, ItemReader) else 0

    @property
    def is_array(self) -> bool:
        """Whether reading them runs no code of a Dataset."""
        return not isinstance(self.source, ItemReader)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        rows = self.rows[index]
        if self.vocabulary is None:
            return rows_as_float32(self.where, self.source[rows], rows)
        return as_tokens(self.where, self.source, self.vocabulary, rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All of them in memory."""
        return np.asarray(self[:], dtype)

    def sample(self) -> NDArray[Any]:
        """Some of them from all over the split."""
        return self[np.linspace(0, len(self) - 1, min(len(self), SAMPLE)).astype(int)]


Examples = NDArray[Any] | StreamedExamples  # of a split


def array_or_streamed(where: str, x: Any) -> Examples:
    """What is given for the examples of a split, on disk where it is to stay there."""
    is_asked_for = isinstance(x, Streamed)
    source = x.source if is_asked_for else x
    is_array = isinstance(source, np.ndarray) and not isinstance(source, np.ma.MaskedArray) and source.ndim
    if is_asked_for and not is_array and not isinstance(source, ItemReader):
        raise SuiteError(
            f"{where}: Streamed takes a memory map, np.load('x.npy', mmap_mode='r'), or is all that is returned where "
            f"it holds a torch Dataset; got {type(source).__name__}"
        )
    is_large = isinstance(source, np.memmap) and 4 * source.size > MEMORY_SHARE * _memory_bytes()
    if not is_asked_for and not is_large:
        return as_array(where, x)
    # As numpy's own class a memory map is slower to take rows from
    source = source.view(np.ndarray) if is_array else source
    return StreamedExamples(where=where, source=source, rows=np.arange(len(source)), vocabulary=None)


def _memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
