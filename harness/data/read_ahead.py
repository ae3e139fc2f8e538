"""Reading parts of streamed examples ahead of whoever works on them, in the order in which they are asked for.

A memory map is read by a thread: numpy and the system hold up no Python while they copy. A Dataset runs Python, which a
thread would take from training: where its items take long to make, processes do that, and where they don't, they are
made when they are asked for.
"""

import multiprocessing
import sys
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from harness.data.splits import Indices
from harness.data.streamed import StreamedExamples
from harness.errors import HarnessError

AHEAD = 3  # parts that are read while one is worked on


def read_ahead(examples: StreamedExamples, parts: Iterable[Indices], *, pin: bool = False) -> Iterator[Tensor]:
    """The examples of each part, read before they are asked for; in pinned memory where a GPU is to have them."""
    if examples.is_array:
        return _by_thread(examples, parts, pin)
    if examples.num_workers and _can_fork():
        return _by_processes(examples, parts, pin)
    return (_tensor(examples, rows, pin) for rows in parts)


def _can_fork() -> bool:
    """Whether a process can be forked beside training.

    Before Python 3.12 the child of a fork waits for good where another thread was just joining the interpreter, as
    threads of gloo do when they let go of a tensor: the lock that it held is never released there.
    """
    is_rank = dist.is_available() and dist.is_initialized()
    return "fork" in multiprocessing.get_all_start_methods() and not (is_rank and sys.version_info < (3, 12))


def _tensor(examples: StreamedExamples, rows: Indices, pin: bool) -> Tensor:
    read = torch.from_numpy(examples[rows])
    return read.pin_memory() if pin else read


def _by_thread(examples: StreamedExamples, parts: Iterable[Indices], pin: bool) -> Iterator[Tensor]:
    pool, ahead = ThreadPoolExecutor(1), deque[Future[Tensor]]()
    try:
        for rows in parts:
            ahead.append(pool.submit(_tensor, examples, rows, pin))
            if len(ahead) > AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class _Parts(Dataset[Tensor | HarnessError]):
    """Streamed examples as torch's DataLoader takes them: a part at a time, or the error of reading it."""

    def __init__(self, examples: StreamedExamples) -> None:
        self.examples = examples

    def __getitems__(self, rows: Indices) -> Tensor | HarnessError:
        try:
            return torch.from_numpy(self.examples[rows])
        except HarnessError as error:  # the loader would put its traceback into the message
            return error


def _by_processes(examples: StreamedExamples, parts: Iterable[Indices], pin: bool) -> Iterator[Tensor]:
    loader = DataLoader(
        _Parts(examples),
        batch_sampler=parts,  # type: ignore[arg-type]
        num_workers=examples.num_workers,
        prefetch_factor=AHEAD,
        collate_fn=_as_it_is,
        pin_memory=pin,
        multiprocessing_context="fork",  # what a suite's own functions return need not be picklable
        generator=torch.Generator(),  # for the seed of a worker; the default one is that of training
    )
    with _no_warning_of_threads():
        tensors = iter(loader)
    for part in tensors:
        if isinstance(part, HarnessError):
            raise part
        yield part


def _as_it_is(part: Any) -> Any:
    return part


@contextmanager
def _no_warning_of_threads() -> Iterator[None]:
    """Python warns of a fork beside threads, which may hold locks: the child takes none of theirs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        yield
