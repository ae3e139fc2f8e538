"""The processes that train one model together, and what they communicate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from harness.nn.tensor_bytes import as_bytes, from_bytes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DistContext:
    """This process among those that train a model; where it is the only one, nothing is communicated."""

    rank: int = 0  # as in torch.distributed
    world_size: int = 1
    group: Any = None  # the processes, for tensors on their devices
    control: Any = None  # the same processes, for tensors in main memory

    def local_chunk(self, tensor: Tensor, dim: int = 0) -> Tensor:
        """This rank's contiguous part; where the parts can't be equal, the first ones have one more."""
        return tensor.tensor_split(self.world_size, dim)[self.rank] if self.world_size > 1 else tensor

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """This rank's items: each of them is exactly one rank's."""
        return items[self.rank :: self.world_size]

    def all_reduce_sum(self, *tensors: Tensor) -> None:
        """Turn each tensor into the sum over all ranks, in place."""
        if self.world_size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor, group=self.group)

    def all_reduce_any(self, *flags: bool) -> tuple[bool, ...]:
        """Which of the flags are set on at least one rank."""
        if self.world_size == 1:
            return flags
        tensor = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self.control)
        return tuple(map(bool, tensor.tolist()))

    def broadcast(self, tensor: Tensor) -> None:
        """Overwrite the tensor with that of the first rank."""
        if self.world_size > 1:
            data = as_bytes(tensor)
            if data.numel():
                dist.broadcast(data, group=self.group, group_src=0)
            tensor.copy_(from_bytes(data, tensor.dtype, tensor.shape, tensor.device))

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all ranks, in their order."""
        if self.world_size == 1:
            return [tensor]
        data = as_bytes(tensor)
        gathered = [torch.empty_like(data) for _ in range(self.world_size)]
        if data.numel():
            dist.all_gather(gathered, data, group=self.group)
        return [from_bytes(part, tensor.dtype, tensor.shape, tensor.device) for part in gathered]


SINGLE_PROCESS = DistContext()
EVAL_BUFFERS = ("rank0", "mean")


@torch.no_grad()
def sync_buffers(buffers: Sequence[Tensor], how: str, dist: DistContext) -> None:
    """Give all ranks the running statistics that are evaluated: those of the first rank, or the "mean" of all.

    Running statistics move linearly, so that averaging them now and then leaves their average where it was. Done twice
    in a row it changes nothing the second time, to the bit.
    """
    for buffer in buffers if dist.world_size > 1 else ():
        first = buffer.clone()
        dist.broadcast(first)
        if how == "mean" and buffer.is_floating_point():
            difference = buffer.double() - first.double()
            dist.all_reduce_sum(difference)
            first = (first.double() + difference / dist.world_size).to(buffer.dtype)
        buffer.copy_(first)
