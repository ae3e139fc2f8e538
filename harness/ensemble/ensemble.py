"""Many models as one program: their parameters stacked, their forward passes run together.

There are four ways, the fastest that holds is taken: a row of layers that needs no autograd (chain.py), layers that are
stacked themselves (stacking.py), the plain module mapped over the stack by torch.func.vmap, and one model after the
other. Models are written once, as plain modules; the other ways are held against them on a few examples, in double
precision, before they are trusted.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from harness.ensemble.compute_options import DEFAULT, ComputeOptions, compiled
from harness.ensemble.ddp import DDPModel
from harness.ensemble.distributed import DistContext
from harness.ensemble.mlp_kernels import MLPKernels
from harness.ensemble.stacked_layers import (
    BatchLayout,
    NotStackableError,
    expand_models,
    stack_layers,
    to_stacked_layout,
)

MIN_STACK = 2  # models in a stack: a stack of one takes other kernels, whose last bits differ
CHECK_MODELS, CHECK_EXAMPLES = 3, 5  # models that are held against themselves, and on how many examples
MEMORY_PROBE_EXAMPLES = 16  # examples that tell how much memory a batch takes
LARGE_MODEL_BYTES = 2**22  # bytes that a step of one model keeps
TOLERANCE = 1e-8  # of outputs, gradients and running statistics, relative to the largest of each tensor


Forward = Callable[["Ensemble", Tensor, bool], Tensor]
LossFn = Callable[[Tensor], tuple[Tensor, Tensor]]  # output -> losses, and the gradient of their sum


@dataclass(frozen=True, slots=True)
class Ensemble:
    """M models as one: tensors with the models as their first dimension, and a module that says how to use them."""

    backend: str  # one of MODES
    template: nn.Module  # one of the models as it was built
    input_shape: tuple[int, ...]  # the shape of one example
    module: nn.Module  # whatever weights it has of its own are not used
    weights: dict[str, Tensor]  # name -> "M ...", each with a gradient
    buffers: dict[str, Tensor]
    kernels: MLPKernels | None  # what trains in place of `base`, with the same tensors
    cumulative: tuple[_BatchNorm, ...]  # layers of `base` whose running statistics average all batches
    is_stochastic: bool  # whether the forward pass draws random numbers (dropout)
    layout: BatchLayout
    ddp: DDPModel | None = None  # what trains in place of `base` where several ranks train one model
    options: ComputeOptions = DEFAULT
    compiled: Forward | None = None  # what trains in place of `base`, where the way asks for it

    @property
    def size(self) -> int:
        """How many models there are, padding included."""
        return len(next(iter(self.weights.values())))

    def __call__(self, x: Tensor, *, shared: bool) -> Float[Tensor, "M K N"]:
        """Each model's output: for its own examples "N M ...", or for examples "N ..." that all of them share."""
        forward = BACKENDS[self.backend] if self.compiled is None or not self.module.training else self.compiled
        if self.options.autocast is None:
            return forward(self, x, shared)
        weight = next(iter(self.weights.values()))
        with torch.autocast(weight.device.type, self.options.autocast):
            return forward(self, x, shared).to(weight.dtype)

    def with_options(self, options: ComputeOptions) -> "Ensemble":
        """The same models on their way: a chain, which knows none but the usual, becomes a stack of layers.

        Models that are mapped can't be told how images lie; they train one after the other.
        """
        if options == DEFAULT:
            return self
        mode = "stacked" if self.backend == "chain" else self.backend
        if options.channels_last and mode == "vmap":
            mode = "alone"
        weights = {name: options.weights_to_memory_format(weight) for name, weight in self.weights.items()}
        made = _assemble(self.template, weights, self.buffers, self.input_shape, mode)
        return replace(made, options=options, compiled=compiled(BACKENDS[mode]) if options.compile else None)

    def gradients(
        self,
        x: Tensor,
        *,
        shared: bool,
        loss_fn: LossFn,
        accumulate_into: Mapping[str, Tensor] | None = None,
        final: bool = True,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Each model's losses and the gradients of its weights, in training; the latter hold until the next call.

        Where a batch goes through in parts, gradients of the parts `before` are added, and hold until the `last`.
        """
        if self.ddp is not None:
            examples, begin = self.options.to_memory_format(x if shared else x[:, 0]), accumulate_into is None
            return self.ddp.gradients(examples, loss_fn, is_first=begin, is_final=final, autocast=self.options.autocast)
        losses, grads = self._gradients(x, shared, loss_fn)
        if accumulate_into is not None:
            return losses, {name: accumulate_into[name] + grad for name, grad in grads.items()}
        return losses, grads if final else {name: grad.clone() for name, grad in grads.items()}

    def _gradients(self, x: Tensor, shared: bool, loss_fn: LossFn) -> tuple[Tensor, dict[str, Tensor]]:
        if self.kernels is not None:
            with torch.no_grad():
                losses, grad = loss_fn(self.kernels.forward(x, shared=shared))
                return losses, self.kernels.backward(grad)
        out = self(x, shared=shared)
        losses, grad = loss_fn(out.detach())
        weights = list(self.weights.values())
        grads = torch.autograd.grad(out, weights, grad, allow_unused=True, materialize_grads=True)
        return losses, dict(zip(self.weights, grads, strict=True))

    def select(self, rows: Int[Tensor, "L"]) -> "Ensemble":
        """The models in these rows as a stack of their own."""
        weights = {name: weight.detach()[rows].requires_grad_() for name, weight in self.weights.items()}
        buffers = {name: buffer[rows] for name, buffer in self.buffers.items()}
        return _assemble(self.template, weights, buffers, self.input_shape, self.backend).with_options(self.options)

    def with_template(self, template: nn.Module, buffers: dict[str, Tensor], backend: str = "") -> "Ensemble":
        """The models on the same weights, with other buffers, run as another plain module says."""
        return _assemble(template, self.weights, buffers, self.input_shape, backend or self.backend).with_options(
            self.options
        )

    def count_batches(self, step: int) -> None:
        """Tell cumulative batch norms how many batches came before: torch would read a counter, which vmap can't."""
        for layer in self.cumulative:
            layer.momentum = 1 / (step + 1)

    @contextmanager
    def eval_mode(self) -> Iterator[None]:
        """Evaluation mode, without gradients."""
        self.module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.module.train()


def _stacked(ensemble: Ensemble, x: Tensor, shared: bool) -> Tensor:
    if not shared:
        x = to_stacked_layout(x)
    elif (ensemble.is_stochastic and ensemble.module.training) or ensemble.layout.is_ambiguous(len(x), ensemble.size):
        # Every model draws for itself; or the shape would no longer tell what is shared.
        x, shared = expand_models(x, ensemble.size), False
    ensemble.layout.shared = shared
    out: Tensor = ensemble.module(ensemble.options.to_memory_format(x))
    return out


def _mapped(ensemble: Ensemble, x: Tensor, shared: bool) -> Tensor:
    def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], some: Tensor) -> Tensor:
        out: Tensor = functional_call(ensemble.module, (weights, buffers), (some,))
        return out

    forward = vmap(one, in_dims=(0, 0, None if shared else 1), randomness="different")
    out: Tensor = forward(ensemble.weights, ensemble.buffers, x)
    return out.transpose(1, 2)


def _one_by_one(ensemble: Ensemble, x: Tensor, shared: bool) -> Tensor:
    apart = {name: tensor.unbind() for name, tensor in (*ensemble.weights.items(), *ensemble.buffers.items())}
    outs = []
    for i in range(ensemble.size):
        tensors = {name: tensor[i] for name, tensor in apart.items()}
        outs.append(
            functional_call(ensemble.module, tensors, (ensemble.options.to_memory_format(x if shared else x[:, i]),))
        )
    return torch.stack(outs).transpose(1, 2)


BACKENDS: dict[str, Forward] = {
    "chain": _stacked,  # in evaluation
    "stacked": _stacked,
    "vmap": _mapped,
    "alone": _one_by_one,
    "ddp": _one_by_one,  # in evaluation; nothing is faster than one model alone, so it is never chosen, but asked for
}
SLOW = {"vmap": "mapped over the models", "alone": "one model after the other"}
NOT = {"stacked": "its layers can't be stacked", "vmap": "it can't be mapped"}


def fuse(models: Sequence[nn.Module], input_shape: tuple[int, ...], device: torch.device, backend: str) -> Ensemble:
    """The models, equal in all but the values of their parameters, as one program on a device.

    `inputs` is the shape of one example. NotStackableError where the mode asks for layers that a model hasn't.
    """
    if backend != "alone":
        models = [*models, *[models[-1]] * (MIN_STACK - len(models))]
    stacked_weights, stacked_buffers = stack_module_state(models)
    weights = {name: weight.detach().to(device).requires_grad_() for name, weight in stacked_weights.items()}
    buffers = {name: buffer.to(device) for name, buffer in stacked_buffers.items()}
    return _assemble(models[0], weights, buffers, input_shape, backend)


def _assemble(
    plain: nn.Module, weights: dict[str, Tensor], buffers: dict[str, Tensor], inputs: tuple[int, ...], mode: str
) -> Ensemble:
    tensors = {**weights, **buffers}
    examples = BatchLayout(inputs, frozenset(size for t in tensors.values() for size in t.shape[1:3]))
    base = stack_layers(plain, tensors, examples) if BACKENDS[mode] is _stacked else deepcopy(plain)
    layers = list(base.train().modules())
    return Ensemble(
        mode,
        plain,
        inputs,
        base,
        weights,
        buffers,
        MLPKernels(plain, tensors, inputs) if mode == "chain" else None,
        tuple(layer for layer in layers if isinstance(layer, _BatchNorm) and layer.momentum is None),
        any(isinstance(layer, _DropoutNd) for layer in layers),
        examples,
    )


def distribute(
    model: nn.Module, input_shape: tuple[int, ...], device: torch.device, dist: DistContext, options: ComputeOptions
) -> Ensemble:
    """The model on a device of this rank, as one of several that train it together."""
    alone = fuse([model], input_shape, device, "alone").with_options(options)
    replica = DDPModel(alone.module, alone.weights, alone.buffers, dist, input_shape)
    return replace(alone, backend="ddp", ddp=replica)


def fuse_fastest(
    models: Sequence[nn.Module], input_shape: tuple[int, ...], batch_size: int, device: torch.device
) -> Ensemble:
    """The models in the fastest mode that holds; a large one on its own has nothing to gain from being padded."""
    if len(models) == 1:
        lone = fuse(models, input_shape, torch.device("cpu"), "alone")
        if activation_bytes(lone, input_shape, batch_size) > LARGE_MODEL_BYTES:
            return fuse(models, input_shape, device, "alone")
    mode, _ = select_backend(models, input_shape)
    return fuse(models, input_shape, device, mode)


def select_backend(models: Sequence[nn.Module], input_shape: tuple[int, ...]) -> tuple[str, str]:
    """The fastest mode in which the models are what they are alone; where that is a slow one, also why."""
    reasons: list[str] = []
    for mode in BACKENDS:
        try:
            differing = "" if mode == "alone" else find_mismatch(models, input_shape, mode)
        except NotStackableError as error:
            differing = str(error)
        except Exception as error:  # noqa: BLE001 (a model may do anything, and one by one it may do it)
            differing = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if not differing:
            return mode, "; ".join(reasons) if mode in SLOW else ""
        if mode != "chain":  # few models are chains, and none is at fault for being more
            reasons.append(f"{NOT[mode]}: {differing}")
    raise AssertionError("one by one, a model is what it is alone")


def find_mismatch(models: Sequence[nn.Module], input_shape: tuple[int, ...], backend: str) -> str:
    """What of outputs, gradients or running statistics is not as the modules have it; "" where all is."""
    rng = torch.Generator().manual_seed(0)
    some = [deepcopy(model).double() for model in (*models, *models, *models)[:CHECK_MODELS]]
    for weight in (weight for model in some for weight in model.parameters()):
        weight.data.add_(torch.randn(weight.shape, generator=rng, dtype=weight.dtype), alpha=0.1)  # no two are equal
    fused, alone = (
        reference_outputs(fuse(some, input_shape, torch.device("cpu"), way), input_shape) for way in (backend, "alone")
    )
    for name, expected in alone.items():
        found = fused[name]
        if found.shape != expected.shape:
            return f"{name} has another shape, {tuple(found.shape)} instead of {tuple(expected.shape)}"
        if not torch.allclose(found, expected, rtol=0.0, atol=TOLERANCE * (1 + expected.abs().max().item())):
            return f"{name} is not that of the model alone"
    return ""


def reference_outputs(ensemble: Ensemble, input_shape: tuple[int, ...]) -> dict[str, Tensor]:
    """What training and evaluation do to a few examples: each model's own first, then some that all share."""
    for layer in ensemble.module.modules():
        if isinstance(layer, _DropoutNd):
            layer.p = 0.0  # two ways to run a model draw in two orders
    rng = torch.Generator().manual_seed(0)
    found: dict[str, Tensor] = {}
    for step, shared in enumerate((False, True)):
        shape = (CHECK_EXAMPLES, *input_shape) if shared else (CHECK_EXAMPLES, ensemble.size, *input_shape)
        x = torch.randn(shape, generator=rng, dtype=torch.float64)
        ensemble.count_batches(step)
        out, grads = ensemble.gradients(x, shared=shared, loss_fn=lambda out: (out.clone(), _noise(out, rng)))
        with ensemble.eval_mode():
            judged = ensemble(x, shared=shared)
        named = {"the output": out, "the output in evaluation": judged}
        named |= {f"the gradient of {name}": grads[name].clone() for name in ensemble.weights}
        named |= {f"the buffer {name}": buffer.double().clone() for name, buffer in ensemble.buffers.items()}
        found |= {f"{name} ({step})": value for name, value in named.items()}
    return found


def _noise(like: Tensor, rng: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=rng, dtype=like.dtype)


def activation_bytes(ensemble: Ensemble, input_shape: tuple[int, ...], batch_size: int = MEMORY_PROBE_EXAMPLES) -> int:
    """How many bytes one model of the stack keeps for the backward pass of a step on so many examples."""
    some = min(batch_size, MEMORY_PROBE_EXAMPLES)
    seen: dict[int, Tensor] = {}  # by the address of its memory; kept, so that none is given out again

    def see(tensor: Tensor) -> Tensor:
        return seen.setdefault(tensor.untyped_storage().data_ptr(), tensor)

    ensemble.module.eval()  # running statistics stay where they are
    with torch.autograd.graph.saved_tensors_hooks(see, lambda tensor: tensor):
        ensemble(next(iter(ensemble.weights.values())).new_zeros(some, ensemble.size, *input_shape), shared=False)
    ensemble.module.train()
    kept = sum(tensor.untyped_storage().nbytes() for tensor in seen.values())
    return max(1, kept * batch_size // (some * ensemble.size))
