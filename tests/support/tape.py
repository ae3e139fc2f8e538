"""A recording on the CPU that keeps what a CUDA graph keeps: the kernels, their memory, and the numbers in them.

What a step reads of Python while it is recorded stays as it was, so a replay that learns the same as the plain loop
shows that nothing but tensors told it which step it was.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
READS = {  # what waits for the device, or copies a number of Python's to it: no recording can
    *(aten._local_scalar_dense, aten.item, aten.is_nonzero, aten.equal, aten.nonzero, aten.masked_select),
    *(aten._unique2, aten.lift_fresh, aten.lift_fresh_copy),
}


class Tape(TorchDispatchMode):
    """Records every kernel that is started under it."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, kernel, types, args=(), kwargs=None):
        if kernel.overloadpacket in READS:
            raise RuntimeError(f"{kernel.overloadpacket} reads a number while it is recorded")
        out = kernel(*args, **(kwargs or {}))
        self.calls.append((kernel, args, kwargs or {}, out))
        return out

    @torch.no_grad()
    def replay(self):
        """Do all of it again, each result where it was before."""
        for kernel, args, kwargs, out in self.calls:
            again = kernel(*args, **kwargs)
            for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def on_tape(work):
    """The work recorded on a tape, after as many rounds as warm up a graph."""
    for _ in range(3):
        work()
    with Tape() as tape:
        result = work()
    return tape.replay, result
