"""Kernels for nets of vectors, which need no autograd."""

import torch
from torch import Tensor

from harness.ensemble.backends.base import LossFn, ModelStack, NotStackableError
from harness.ensemble.backends.mlp_kernels import MLPKernels
from harness.ensemble.backends.stacked import StackedBackend
from harness.ensemble.compute_options import DEFAULT


class MLPBackend(StackedBackend):
    """Trains by kernels of its own, on the same tensors; evaluation and probes go through stacked layers."""

    name = "mlp"
    refusal = ""  # few models are so plain

    def __init__(self, stack: ModelStack) -> None:
        if stack.options != DEFAULT:
            raise NotStackableError("the kernels know no options")
        self.kernels = MLPKernels(stack.template, stack.tensors, stack.input_shape)
        super().__init__(stack)

    def batch_gradients(self, x: Tensor, shared: bool, loss_fn: LossFn) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses and gradients of one batch; the latter hold until the next call."""
        with torch.no_grad():
            losses, grad = loss_fn(self.kernels.forward(x, shared=shared))
            return losses, self.kernels.backward(grad)

    def release_buffers(self) -> None:
        """Let the kernels allocate anew in the next step."""
        self.kernels.release_buffers()
