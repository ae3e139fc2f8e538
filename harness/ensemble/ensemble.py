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

from harness.ensemble.compute_options import USUAL, Way, compiled
from harness.ensemble.ddp import Replica
from harness.ensemble.distributed import Ranks
from harness.ensemble.mlp_kernels import Chain
from harness.ensemble.stacked_layers import Examples, NotStackableError, lay_out, spread, stack_layers

FEWEST = 2  # models in a stack: a stack of one takes other kernels, whose last bits differ
PROBED, EXAMPLES = 3, 5  # models that are held against themselves, and on how many examples
MEASURED = 16  # examples that tell how much memory a batch takes
LARGE = 2**22  # bytes that a step of one model keeps
TOLERANCE = 1e-8  # of outputs, gradients and running statistics, relative to the largest of each tensor


Forward = Callable[["Stack", Tensor, bool], Tensor]
Head = Callable[[Tensor], tuple[Tensor, Tensor]]  # output -> losses, and the gradient of their sum


@dataclass(frozen=True, slots=True)
class Stack:
    """M models as one: tensors with the models as their first dimension, and a module that says how to use them."""

    mode: str  # one of MODES
    plain: nn.Module  # one of the models as it was built
    inputs: tuple[int, ...]  # the shape of one example
    base: nn.Module  # whatever weights it has of its own are not used
    weights: dict[str, Tensor]  # name -> "M ...", each with a gradient
    buffers: dict[str, Tensor]
    chain: Chain | None  # what trains in place of `base`, with the same tensors
    cumulative: tuple[_BatchNorm, ...]  # layers of `base` whose running statistics average all batches
    draws: bool  # whether the forward pass draws random numbers (dropout)
    examples: Examples
    replica: Replica | None = None  # what trains in place of `base` where several ranks train one model
    way: Way = USUAL
    compiled: Forward | None = None  # what trains in place of `base`, where the way asks for it

    @property
    def size(self) -> int:
        """How many models there are, padding included."""
        return len(next(iter(self.weights.values())))

    def __call__(self, x: Tensor, *, shared: bool) -> Float[Tensor, "M K N"]:
        """Each model's output: for its own examples "N M ...", or for examples "N ..." that all of them share."""
        forward = MODES[self.mode] if self.compiled is None or not self.base.training else self.compiled
        if self.way.autocast is None:
            return forward(self, x, shared)
        weight = next(iter(self.weights.values()))
        with torch.autocast(weight.device.type, self.way.autocast):
            return forward(self, x, shared).to(weight.dtype)

    def told(self, way: Way) -> "Stack":
        """The same models on their way: a chain, which knows none but the usual, becomes a stack of layers.

        Models that are mapped can't be told how images lie; they train one after the other.
        """
        if way == USUAL:
            return self
        mode = "stacked" if self.mode == "chain" else self.mode
        if way.channels_last and mode == "vmap":
            mode = "alone"
        weights = {name: way.lay_weights(weight) for name, weight in self.weights.items()}
        made = _assemble(self.plain, weights, self.buffers, self.inputs, mode)
        return replace(made, way=way, compiled=compiled(MODES[mode]) if way.compile else None)

    def gradients(
        self, x: Tensor, *, shared: bool, head: Head, before: Mapping[str, Tensor] | None = None, last: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Each model's losses and the gradients of its weights, in training; the latter hold until the next call.

        Where a batch goes through in parts, gradients of the parts `before` are added, and hold until the `last`.
        """
        if self.replica is not None:
            examples, begin = self.way.lay(x if shared else x[:, 0]), before is None
            return self.replica.gradients(examples, head, begin=begin, last=last, autocast=self.way.autocast)
        losses, grads = self._gradients(x, shared, head)
        if before is not None:
            return losses, {name: before[name] + grad for name, grad in grads.items()}
        return losses, grads if last else {name: grad.clone() for name, grad in grads.items()}

    def _gradients(self, x: Tensor, shared: bool, head: Head) -> tuple[Tensor, dict[str, Tensor]]:
        if self.chain is not None:
            with torch.no_grad():
                losses, grad = head(self.chain.forward(x, shared=shared))
                return losses, self.chain.backward(grad)
        out = self(x, shared=shared)
        losses, grad = head(out.detach())
        weights = list(self.weights.values())
        grads = torch.autograd.grad(out, weights, grad, allow_unused=True, materialize_grads=True)
        return losses, dict(zip(self.weights, grads, strict=True))

    def take(self, rows: Int[Tensor, "L"]) -> "Stack":
        """The models in these rows as a stack of their own."""
        weights = {name: weight.detach()[rows].requires_grad_() for name, weight in self.weights.items()}
        buffers = {name: buffer[rows] for name, buffer in self.buffers.items()}
        return _assemble(self.plain, weights, buffers, self.inputs, self.mode).told(self.way)

    def like(self, plain: nn.Module, buffers: dict[str, Tensor], mode: str = "") -> "Stack":
        """The models on the same weights, with other buffers, run as another plain module says."""
        return _assemble(plain, self.weights, buffers, self.inputs, mode or self.mode).told(self.way)

    def count_batches(self, step: int) -> None:
        """Tell cumulative batch norms how many batches came before: torch would read a counter, which vmap can't."""
        for layer in self.cumulative:
            layer.momentum = 1 / (step + 1)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode, without gradients."""
        self.base.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.base.train()


def _stacked(stack: Stack, x: Tensor, shared: bool) -> Tensor:
    if not shared:
        x = lay_out(x)
    elif (stack.draws and stack.base.training) or stack.examples.are_alike(len(x), stack.size):
        # Every model draws for itself; or the shape would no longer tell what is shared.
        x, shared = spread(x, stack.size), False
    stack.examples.shared = shared
    out: Tensor = stack.base(stack.way.lay(x))
    return out


def _mapped(stack: Stack, x: Tensor, shared: bool) -> Tensor:
    def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], some: Tensor) -> Tensor:
        out: Tensor = functional_call(stack.base, (weights, buffers), (some,))
        return out

    forward = vmap(one, in_dims=(0, 0, None if shared else 1), randomness="different")
    out: Tensor = forward(stack.weights, stack.buffers, x)
    return out.transpose(1, 2)


def _one_by_one(stack: Stack, x: Tensor, shared: bool) -> Tensor:
    apart = {name: tensor.unbind() for name, tensor in (*stack.weights.items(), *stack.buffers.items())}
    outs = []
    for i in range(stack.size):
        tensors = {name: tensor[i] for name, tensor in apart.items()}
        outs.append(functional_call(stack.base, tensors, (stack.way.lay(x if shared else x[:, i]),)))
    return torch.stack(outs).transpose(1, 2)


MODES: dict[str, Forward] = {
    "chain": _stacked,  # in evaluation
    "stacked": _stacked,
    "vmap": _mapped,
    "alone": _one_by_one,
    "ddp": _one_by_one,  # in evaluation; nothing is faster than one model alone, so it is never chosen, but asked for
}
SLOW = {"vmap": "mapped over the models", "alone": "one model after the other"}
NOT = {"stacked": "its layers can't be stacked", "vmap": "it can't be mapped"}


def fuse(models: Sequence[nn.Module], inputs: tuple[int, ...], device: torch.device, mode: str) -> Stack:
    """The models, equal in all but the values of their parameters, as one program on a device.

    `inputs` is the shape of one example. NotStackableError where the mode asks for layers that a model hasn't.
    """
    if mode != "alone":
        models = [*models, *[models[-1]] * (FEWEST - len(models))]
    stacked_weights, stacked_buffers = stack_module_state(models)
    weights = {name: weight.detach().to(device).requires_grad_() for name, weight in stacked_weights.items()}
    buffers = {name: buffer.to(device) for name, buffer in stacked_buffers.items()}
    return _assemble(models[0], weights, buffers, inputs, mode)


def _assemble(
    plain: nn.Module, weights: dict[str, Tensor], buffers: dict[str, Tensor], inputs: tuple[int, ...], mode: str
) -> Stack:
    tensors = {**weights, **buffers}
    examples = Examples(inputs, frozenset(size for t in tensors.values() for size in t.shape[1:3]))
    base = stack_layers(plain, tensors, examples) if MODES[mode] is _stacked else deepcopy(plain)
    layers = list(base.train().modules())
    return Stack(
        mode,
        plain,
        inputs,
        base,
        weights,
        buffers,
        Chain(plain, tensors, inputs) if mode == "chain" else None,
        tuple(layer for layer in layers if isinstance(layer, _BatchNorm) and layer.momentum is None),
        any(isinstance(layer, _DropoutNd) for layer in layers),
        examples,
    )


def distribute(model: nn.Module, inputs: tuple[int, ...], device: torch.device, ranks: Ranks, way: Way) -> Stack:
    """The model on a device of this rank, as one of several that train it together."""
    alone = fuse([model], inputs, device, "alone").told(way)
    replica = Replica(alone.base, alone.weights, alone.buffers, ranks, inputs)
    return replace(alone, mode="ddp", replica=replica)


def fuse_fastest(models: Sequence[nn.Module], inputs: tuple[int, ...], batch_size: int, device: torch.device) -> Stack:
    """The models in the fastest mode that holds; a large one on its own has nothing to gain from being padded."""
    if len(models) == 1:
        lone = fuse(models, inputs, torch.device("cpu"), "alone")
        if kept_bytes(lone, inputs, batch_size) > LARGE:
            return fuse(models, inputs, device, "alone")
    mode, _ = choose_mode(models, inputs)
    return fuse(models, inputs, device, mode)


def choose_mode(models: Sequence[nn.Module], inputs: tuple[int, ...]) -> tuple[str, str]:
    """The fastest mode in which the models are what they are alone; where that is a slow one, also why."""
    reasons: list[str] = []
    for mode in MODES:
        try:
            differing = "" if mode == "alone" else _differing(models, inputs, mode)
        except NotStackableError as error:
            differing = str(error)
        except Exception as error:  # noqa: BLE001 (a model may do anything, and one by one it may do it)
            differing = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if not differing:
            return mode, "; ".join(reasons) if mode in SLOW else ""
        if mode != "chain":  # few models are chains, and none is at fault for being more
            reasons.append(f"{NOT[mode]}: {differing}")
    raise AssertionError("one by one, a model is what it is alone")


def _differing(models: Sequence[nn.Module], inputs: tuple[int, ...], mode: str) -> str:
    """What of outputs, gradients or running statistics is not as the modules have it; "" where all is."""
    rng = torch.Generator().manual_seed(0)
    some = [deepcopy(model).double() for model in (*models, *models, *models)[:PROBED]]
    for weight in (weight for model in some for weight in model.parameters()):
        weight.data.add_(torch.randn(weight.shape, generator=rng, dtype=weight.dtype), alpha=0.1)  # no two are equal
    fused, alone = (_trace(fuse(some, inputs, torch.device("cpu"), way), inputs) for way in (mode, "alone"))
    for name, expected in alone.items():
        found = fused[name]
        if found.shape != expected.shape:
            return f"{name} has another shape, {tuple(found.shape)} instead of {tuple(expected.shape)}"
        if not torch.allclose(found, expected, rtol=0.0, atol=TOLERANCE * (1 + expected.abs().max().item())):
            return f"{name} is not that of the model alone"
    return ""


def _trace(stack: Stack, inputs: tuple[int, ...]) -> dict[str, Tensor]:
    """What training and evaluation do to a few examples: each model's own first, then some that all share."""
    for layer in stack.base.modules():
        if isinstance(layer, _DropoutNd):
            layer.p = 0.0  # two ways to run a model draw in two orders
    rng = torch.Generator().manual_seed(0)
    found: dict[str, Tensor] = {}
    for step, shared in enumerate((False, True)):
        shape = (EXAMPLES, *inputs) if shared else (EXAMPLES, stack.size, *inputs)
        x = torch.randn(shape, generator=rng, dtype=torch.float64)
        stack.count_batches(step)
        out, grads = stack.gradients(x, shared=shared, head=lambda out: (out.clone(), _noise(out, rng)))
        with stack.evaluating():
            judged = stack(x, shared=shared)
        named = {"the output": out, "the output in evaluation": judged}
        named |= {f"the gradient of {name}": grads[name].clone() for name in stack.weights}
        named |= {f"the buffer {name}": buffer.double().clone() for name, buffer in stack.buffers.items()}
        found |= {f"{name} ({step})": value for name, value in named.items()}
    return found


def _noise(like: Tensor, rng: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=rng, dtype=like.dtype)


def kept_bytes(stack: Stack, inputs: tuple[int, ...], batch_size: int = MEASURED) -> int:
    """How many bytes one model of the stack keeps for the backward pass of a step on so many examples."""
    some = min(batch_size, MEASURED)
    seen: dict[int, Tensor] = {}  # by the address of its memory; kept, so that none is given out again

    def see(tensor: Tensor) -> Tensor:
        return seen.setdefault(tensor.untyped_storage().data_ptr(), tensor)

    stack.base.eval()  # running statistics stay where they are
    with torch.autograd.graph.saved_tensors_hooks(see, lambda tensor: tensor):
        stack(next(iter(stack.weights.values())).new_zeros(some, stack.size, *inputs), shared=False)
    stack.base.train()
    kept = sum(tensor.untyped_storage().nbytes() for tensor in seen.values())
    return max(1, kept * batch_size // (some * stack.size))
