"""Streamed examples in the place of a tensor of all: what is taken of them comes as a tensor on the device."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from harness.data.streamed import Examples, StreamedExamples


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedTensor:
    """Examples "N ..." that are read when they are indexed."""

    examples: StreamedExamples
    device: torch.device
    dtype: torch.dtype
    rows: Int[Tensor, "N"]  # of the examples

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Int[Tensor, "..."]) -> Tensor:
        """The examples at these positions, "... ..."; each is read once."""
        rows, places = torch.unique(self.rows[index.cpu()], return_inverse=True)
        read = torch.from_numpy(self.examples[rows.numpy()]).to(self.device, self.dtype)
        return read[places.to(self.device)]

    def tensor_split(self, sections: int | Sequence[int]) -> list["StreamedTensor"]:
        """The parts that a tensor would be split into, none of them read yet."""
        return [replace(self, rows=rows) for rows in self.rows.tensor_split(sections)]


AnyExamples = Tensor | StreamedTensor  # of a split, "N ..."


def on_device(examples: Examples, device: torch.device, dtype: torch.dtype | None) -> AnyExamples:
    """The examples of a split as training takes them, in single precision unless told otherwise."""
    if isinstance(examples, StreamedExamples):
        dtype, rows = dtype or torch.float32, torch.arange(len(examples))
        return StreamedTensor(examples=examples, device=device, dtype=dtype, rows=rows)
    return torch.from_numpy(examples).to(device, dtype)
