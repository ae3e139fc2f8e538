"""Tensors as bytes and back, of whatever type: neither numpy nor the backends of torch.distributed know all types."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from harness.nn.module_checks import KEPT_DTYPES

DTYPES = {str(dtype): dtype for dtype in KEPT_DTYPES}


def as_bytes(tensor: Tensor) -> Tensor:
    """The tensor's bytes as a vector; in the tensor's own memory where they lie there in their order."""
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    if not plain.numel():
        return torch.empty(0, dtype=torch.uint8, device=tensor.device)
    return plain.view(-1).view(torch.uint8)


def to_bytes(tensor: Tensor) -> bytes:
    """The tensor's bytes."""
    data: bytes = as_bytes(tensor.cpu()).numpy().tobytes()
    return data


def from_bytes(
    data: Tensor | bytes | memoryview, dtype: torch.dtype, shape: Sequence[int], device: torch.device | str = "cpu"
) -> Tensor:
    """A tensor of these bytes, in memory of its own; ValueError where their number is another."""
    size = data.numel() if isinstance(data, Tensor) else memoryview(data).nbytes
    if size != prod(shape) * dtype.itemsize:
        raise ValueError(f"{size} bytes are no {dtype} of shape {tuple(shape)}")
    tensor = torch.empty(tuple(shape), dtype=dtype, device=device)
    if size:
        own = data if isinstance(data, Tensor) else torch.frombuffer(bytearray(data), dtype=torch.uint8)
        tensor.view(-1).view(torch.uint8).copy_(own)
    return tensor
