"""Splits in pieces, for what goes over all of their examples: those on disk are read while others are evaluated."""

from collections.abc import Iterator, Sequence
from itertools import islice

from torch import Tensor

from harness.data.read_ahead import read_ahead
from harness.data.streamed_tensors import AnyExamples, StreamedTensor

PIECE = 1024  # examples; compiled code adds up losses in pieces that this is a multiple of


def in_pieces(
    batches: Sequence[tuple[AnyExamples, Tensor]], *, whole: bool
) -> Iterator[tuple[Iterator[Tensor], Tensor]]:
    """The examples of each batch in pieces, one after the other, and all of its targets.

    A batch in memory is one piece, as is one on disk that has to be `whole`: its examples decide over each other.
    """
    if not batches or isinstance(batches[0][0], Tensor):
        for x, y in batches:
            assert isinstance(x, Tensor)
            yield iter((x,)), y
        return
    parts = [x.tensor_split([] if whole else [*range(PIECE, len(x), PIECE)]) for x, _ in batches]
    pieces = _read([piece for part in parts for piece in part if isinstance(piece, StreamedTensor)])
    for part, (_, y) in zip(parts, batches, strict=True):
        yield islice(pieces, len(part)), y


def _read(pieces: Sequence[StreamedTensor]) -> Iterator[Tensor]:
    first = pieces[0]
    is_on_gpu = first.device.type == "cuda"
    for read in read_ahead(first.examples, [piece.rows.numpy() for piece in pieces], pin=is_on_gpu):
        yield read.to(first.device, first.dtype, non_blocking=True)
