"""Small chains of layers, trained by the native library: many steps of each model in one call, without Python or torch.

A model trains by itself, so its bits depend on nothing but its own settings. What needs a graph of autograd, or batch
statistics in evaluation, goes through stacked layers on the same tensors.
"""

import ctypes
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from harness.ensemble.backends.base import LossFn, ModelStack, NotStackableError
from harness.ensemble.backends.compiled_network import Network, network_of
from harness.ensemble.backends.side_effects import check_side_effects
from harness.ensemble.backends.stacked import StackedBackend
from harness.ensemble.compute_options import DEFAULT
from harness.ensemble.module_copy import has_hooks
from harness.ensemble.native.build import absence_note, load
from harness.ensemble.native.structs import ExamplesStruct, ModelsStruct, pointers
from harness.errors import BuildError
from harness.nn.frozen import frozen_parameters
from harness.nn.module_state import tensors_of

SCALARS = {torch.float32: "float", torch.float64: "double"}
MAX_WEIGHTS = 2**21  # of one model: more do not stay in a cache, and BLAS is faster (docs/measurements.md)


def missing_library(model: nn.Module, input_shape: tuple[int, ...]) -> str:
    """Why models like this one, which have a compiled form, train without; "" where they have none, or do train so."""
    tensors = {name: tensor.unsqueeze(0) for name, tensor in tensors_of(model).items()}
    if frozen_parameters(model) or has_hooks(model):
        return ""
    try:
        network_of(model, tensors, input_shape)
    except NotStackableError:
        return ""
    return absence_note("float") or absence_note("double")


class CompiledBackend(StackedBackend):
    """Each model by itself in compiled code: see native/kernels.cpp."""

    name = "compiled"
    refusal = ""  # stacked layers are fast as well
    runs_in_turn = True
    device_types = frozenset({"cpu"})

    def __init__(self, stack: ModelStack) -> None:
        weight = next(iter(stack.weights.values()))
        if stack.options != DEFAULT or weight.device.type not in self.device_types or weight.dtype not in SCALARS:
            raise NotStackableError("compiled code is for a CPU, in single or double precision, without options")
        floats = [tensor for tensor in stack.tensors.values() if tensor.is_floating_point()]
        if any(tensor.dtype is not weight.dtype for tensor in floats):
            raise NotStackableError("its tensors are of several types")
        if sum(weight[0].numel() for weight in stack.weights.values()) > MAX_WEIGHTS:
            raise NotStackableError(f"it has more than {MAX_WEIGHTS} weights")
        if frozen_parameters(stack.template):
            raise NotStackableError("some of its weights are frozen")
        check_side_effects(stack)
        self.network: Network = network_of(stack.template, stack.tensors, stack.input_shape)
        try:
            self.library = load(SCALARS[weight.dtype])
        except BuildError as error:
            raise NotStackableError(str(error)) from error
        super().__init__(stack)
        self.takes_any_batch = not self.network.has_batch_statistics

    @property
    def is_evaluating(self) -> bool:
        """Whether compiled code computes what the module would: no layer of it takes statistics of a batch."""
        return not self.network.has_batch_statistics and not any(m.training for m in self.module.modules())

    def forward(self, x: Tensor, *, shared: bool) -> Tensor:
        """Compiled in evaluation; stacked layers where gradients are asked for."""
        if torch.is_grad_enabled() or not self.is_evaluating:
            return super().forward(x, shared=shared)
        return self._outputs(x, shared=shared, training=False)

    def batch_gradients(self, x: Tensor, shared: bool, loss_fn: LossFn) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses and gradients of one batch."""
        with torch.no_grad():
            x = x.contiguous()
            losses, output_grad = loss_fn(self._outputs(x, shared=shared, training=True))
            output_grad = output_grad.contiguous()  # has to outlive the call
            grads = {name: torch.empty_like(weight) for name, weight in self.stack.weights.items()}
            self.call(
                self.library.harness_backward,
                self.models(),
                self.examples(x, shared=shared),
                ctypes.c_int64(len(x)),
                ctypes.c_void_p(output_grad.data_ptr()),
                pointers([grads[name] for name in self.network.parameters]),
            )
            return losses, grads

    def score(self, pieces: Iterable[Tensor], y: Tensor) -> tuple[Tensor, Tensor]:
        """The sums of losses and of right answers over examples that all models share."""
        if not self.is_evaluating:
            return super().score(pieces, y)
        losses = torch.zeros(self.stack.size, dtype=torch.float64)
        correct = torch.zeros(self.stack.size, dtype=torch.int64)
        start = 0
        for x in pieces:
            self.call(
                self.library.harness_evaluate,
                self.models(),
                self.examples(x, shared=True, y=y[..., start : start + len(x)]),
                ctypes.c_int64(len(x)),
                ctypes.c_void_p(losses.data_ptr()),
                ctypes.c_void_p(correct.data_ptr()),
            )
            start += len(x)
        return losses, correct

    def _outputs(self, x: Tensor, *, shared: bool, training: bool) -> Tensor:
        x = x.contiguous()
        # "M K N"
        out = x.new_empty(self.stack.size, self.network.classes, len(x))
        self.call(
            self.library.harness_forward,
            self.models(),
            self.examples(x, shared=shared),
            ctypes.c_int64(len(x)),
            ctypes.c_int32(training),
            ctypes.c_void_p(out.data_ptr()),
        )
        return out

    def models(self, fail_step: Tensor | None = None) -> ModelsStruct:
        """The stack's tensors; `fail_step` says which models train."""
        parameters = pointers([self.stack.weights[name] for name in self.network.parameters])
        buffers = pointers([self.stack.buffers[name] for name in self.network.buffers])
        return ModelsStruct(
            self.stack.size,
            parameters,
            buffers,
            None if fail_step is None else fail_step.data_ptr(),
        )

    def examples(
        self, x: Tensor, *, shared: bool, y: Tensor | None = None, indices: Tensor | None = None
    ) -> ExamplesStruct:
        """Examples "N ..." that all models share, or "N M ..."; labels "N" or "M N"; indices "M B" into both."""
        size = self.network.input_size
        assert x.dtype is next(iter(self.stack.weights.values())).dtype  # nothing else looks at it
        assert x.is_contiguous()
        return ExamplesStruct(
            x=x.data_ptr(),
            x_example=size if shared else size * self.stack.size,
            x_model=0 if shared else size,
            y=None if y is None else y.data_ptr(),
            y_model=0 if y is None or y.ndim == 1 else y.stride(0),
            indices=None if indices is None else indices.data_ptr(),
            indices_row=0 if indices is None else indices.stride(0),
        )

    def call(self, function: Any, models: ModelsStruct, examples: ExamplesStruct, *args: Any) -> None:
        """Call a function of the library for all models, on the threads that torch would use."""
        by_reference = [ctypes.byref(struct) for struct in (self.network.struct, models, examples)]
        if function(*by_reference, *args, ctypes.c_int64(torch.get_num_threads())):
            raise MemoryError("can't allocate memory for the activations of a batch")
