"""One model on several ranks: torch's DistributedDataParallel around it, with the tensors of its stack."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from harness.ensemble.distributed import DistContext
from harness.nn.surgery import SYNC_BATCH_NORMS

# Each rank keeps its own running statistics: settle() says which are evaluated. torch 2.11 has the older name alone.
KEEP_BUFFERS: dict[str, Any] = (
    {"forward_sync_buffers": False}
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else {"broadcast_buffers": False}
)


class DDPModel:
    """This rank's copy of a model, whose gradients are those of the mean over all ranks' losses."""

    def __init__(
        self, model: nn.Module, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], ranks: DistContext,
        input_shape: tuple[int, ...],
    ) -> None:  # fmt: skip
        """`model` gets the tensors of a stack of one for its own: what changes one changes the other."""
        for name, weight in model.named_parameters():
            weight.data = weights[name].detach()[0]
        for name in [name for name, _ in model.named_buffers()]:
            parent, _, own = name.rpartition(".")
            model.get_submodule(parent)._buffers[own] = buffers[name][0]
        for layer in model.modules():
            if isinstance(layer, SYNC_BATCH_NORMS):
                layer.process_group = ranks.group
        device = next(iter(weights.values())).device
        self.wrapped = DistributedDataParallel(
            model,
            device_ids=[device] if device.type == "cuda" else None,
            process_group=ranks.group,
            gradient_as_bucket_view=True,
            find_unused_parameters=_has_unused_parameters(model, input_shape),  # which takes time in every step
            **KEEP_BUFFERS,
        )
        if device.type == "cpu":
            self.wrapped.register_comm_hook(ranks, ordered_allreduce_hook)
        self.weights = dict(model.named_parameters())
        self.kind = next(iter(weights.values())).dtype

    def gradients(
        self, x: Tensor, loss_fn: Callable[[Tensor], tuple[Tensor, Tensor]], *, is_first: bool, is_final: bool,
        autocast: torch.dtype | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
        """This rank's loss on its examples "N ...", and the gradients "1 ..." over all ranks, after the `last` part.

        They add up over the parts of a batch, from the one that is told to `begin`.
        """
        for weight in self.weights.values() if is_first else ():
            if weight.grad is not None:
                weight.grad.zero_()
        with nullcontext() if is_final else self.wrapped.no_sync():
            with torch.autocast(x.device.type, autocast, enabled=autocast is not None):
                out = self.wrapped(x).to(self.kind).unsqueeze(0).transpose(1, 2)
            losses, grad = loss_fn(out.detach())
            out.backward(grad)
        return losses, {name: _or_zero(weight).unsqueeze(0) for name, weight in self.weights.items()}


def _has_unused_parameters(model: nn.Module, inputs: tuple[int, ...]) -> bool:
    """Whether there are weights that the output doesn't depend on."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    model.eval()  # running statistics stay where they are
    out = model(weights[0].new_zeros(2, *inputs))
    model.train()
    return any(grad is None for grad in torch.autograd.grad(out.sum(), weights, allow_unused=True))


def _or_zero(weight: Tensor) -> Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


def ordered_allreduce_hook(ranks: DistContext, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:  # type: ignore[name-defined]
    """The mean of a bucket of gradients, added up in the order of the ranks.

    gloo adds three or more in an order that depends on where in a bucket a gradient lies, and buckets are laid out anew
    after the first step: a run that is resumed would differ in its last bits from one that never stopped.
    """
    first, *others = ranks.gather(bucket.buffer())
    for other in others:
        first.add_(other)
    done: torch.futures.Future[Tensor] = torch.futures.Future()
    done.set_result(first.div_(ranks.world_size))
    return done
