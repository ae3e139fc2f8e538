"""One model on several ranks: torch's DistributedDataParallel around it, with the tensors of its stack."""

import inspect
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from harness.ensemble.backends.base import LossFn, ModelStack, NotStackableError, to_outputs
from harness.ensemble.backends.loop import LoopBackend
from harness.ensemble.distributed import DistContext
from harness.nn.module_state import example_zeros, first_names
from harness.nn.surgery import SYNC_BATCH_NORMS

# Each rank keeps its own running statistics: sync_buffers() says which are evaluated. torch 2.11 has the older name.
KEEP_BUFFERS: dict[str, Any] = (
    {"forward_sync_buffers": False}
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else {"broadcast_buffers": False}
)


class DDPBackend(LoopBackend):
    """This rank's copy of a model, whose gradients are those of the mean over all ranks' losses."""

    name = "ddp"

    def __init__(self, stack: ModelStack) -> None:
        if stack.size != 1:
            raise NotStackableError(f"several ranks train one model, and these are {stack.size}")
        super().__init__(stack)
        for layer in self.module.modules():
            if isinstance(layer, SYNC_BATCH_NORMS):
                layer.process_group = stack.dist.group
        # Ranks build the same ones, and not all types can be sent.
        constant = [name for name, first in first_names(self.module).items() if first not in stack.weights]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self.module, constant)  # type: ignore[no-untyped-call]
        weight = next(iter(stack.weights.values()))
        self.wrapped = DistributedDataParallel(
            self.module,
            device_ids=[weight.device] if weight.device.type == "cuda" else None,
            process_group=stack.dist.group,
            gradient_as_bucket_view=True,
            find_unused_parameters=_has_unused_parameters(self.module, stack.input_shape),  # takes time in every step
            **KEEP_BUFFERS,
        )
        if weight.device.type == "cpu":
            self.wrapped.register_comm_hook(stack.dist, ordered_allreduce_hook)

    def gradients(
        self,
        x: Tensor,
        *,
        shared: bool,
        loss_fn: LossFn,
        accumulate_into: Mapping[str, Tensor] | None = None,
        final: bool = True,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """This rank's loss on its examples, and, after the `final` part of a batch, the gradients "1 ..." of all ranks.

        They add up in the parameters' own `grad`, from the part on that accumulates into nothing.
        """
        for weight in self.parameters.values() if accumulate_into is None else ():
            if weight.grad is not None:
                weight.grad.zero_()
        options = self.stack.options
        examples = options.to_memory_format(x if shared else x[:, 0])
        with nullcontext() if final else self.wrapped.no_sync():
            with torch.autocast(x.device.type, options.autocast, enabled=options.autocast is not None):
                out = to_outputs(self.wrapped(examples).to(self.dtype).unsqueeze(0))
            losses, grad = loss_fn(out.detach())
            out.backward(grad)  # type: ignore[no-untyped-call]
        self.write_own_buffers()
        return losses, {name: _grad_or_zero(weight).unsqueeze(0) for name, weight in self.parameters.items()}

    def capture_blocker(self) -> str:
        """Ranks wait for each other."""
        return "several ranks train it together"


def _has_unused_parameters(model: nn.Module, input_shape: tuple[int, ...]) -> bool:
    """Whether there are weights that the output doesn't depend on."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    model.eval()  # running statistics stay where they are
    out = model(example_zeros(model, 2, input_shape))
    model.train()
    return any(grad is None for grad in torch.autograd.grad(out.sum(), weights, allow_unused=True))


def _grad_or_zero(weight: Tensor) -> Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


def ordered_allreduce_hook(ranks: DistContext, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:  # type: ignore[name-defined]
    """The mean of a bucket of gradients, added up in the order of the ranks.

    gloo adds three or more in an order that depends on where in a bucket a gradient lies, and buckets are laid out anew
    after the first step: a run that is resumed would differ in its last bits from one that never stopped.
    """
    first, *others = ranks.gather(bucket.buffer())
    for other in others:
        first.add_(other)
    mean: torch.futures.Future[Tensor] = torch.futures.Future()
    mean.set_result(first.div_(ranks.world_size))
    return mean
