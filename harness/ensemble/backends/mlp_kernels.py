"""Nets of vectors without autograd: layers in a row, each with its gradient written out, working in memory of its own.

Small models spend their time on moving numbers, not on computing them. Here no step allocates, an activation overwrites
its input, and a gradient the gradient that it is made from. All tensors are "M C N": models, channels, examples.

Such a net is one linear layer after another, each with a batch norm and an activation behind it or without; a Flatten
may come first. To add an activation: one entry in ACTIVATIONS.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.ensemble.backends.base import NotStackableError

aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation that overwrites its input, and its gradient, which overwrites that of the output."""

    forward: Callable[[Tensor], object]
    backward: Callable[[Tensor, Tensor], object]  # gradient of the output, output


ACTIVATION_KERNELS: dict[type[nn.Module], Activation] = {
    nn.ReLU: Activation(
        lambda x: x.clamp_min_(0),
        lambda grad, out: aten.threshold_backward.grad_input(grad, out, 0, grad_input=grad),
    ),
    nn.Tanh: Activation(torch.tanh_, lambda grad, out: aten.tanh_backward.grad_input(grad, out, grad_input=grad)),
    nn.Sigmoid: Activation(
        torch.sigmoid_, lambda grad, out: aten.sigmoid_backward.grad_input(grad, out, grad_input=grad)
    ),
}


class Linear:
    """M linear layers."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        # "M O C", "MO C", "M C O"
        weight, bias = tensors["weight"].detach(), tensors.get("bias")
        self.weight, self.flat, self.transposed = weight, weight.flatten(0, 1), weight.transpose(1, 2)
        # "M O 1"
        self.bias = None if bias is None else bias.detach().unsqueeze(2)
        self.grads = {name: torch.empty_like(tensor, requires_grad=False) for name, tensor in tensors.items()}
        self.shape: tuple[int, ...] = ()

    def _allocate(self, x: Tensor) -> None:
        self.shape = x.shape
        models, outputs, inputs = self.weight.shape
        count = len(x) if x.ndim == 2 else x.shape[2]
        self.out = self.weight.new_empty(models, outputs, count)
        self.input_grad = self.weight.new_empty(models, inputs, count)

    def forward(self, x: Tensor) -> Tensor:
        """The output for each model's own examples, or for examples "N C" that all share."""
        if x.shape != self.shape:
            self._allocate(x)
        self.x = x
        if x.ndim == 2:
            # "MO C" times "C N"
            torch.mm(self.flat, x.T, out=self.out.flatten(0, 1))
            return self.out if self.bias is None else self.out.add_(self.bias)
        # "M O C" times "M C N"
        if self.bias is None:
            return torch.bmm(self.weight, x, out=self.out)
        return torch.baddbmm(self.bias, self.weight, x, out=self.out)

    def backward(self, grad: Tensor, *, is_first: bool) -> Tensor:
        """The gradient of the input, unless the layer is the first; those of the weights are kept."""
        if self.bias is not None:
            torch.sum(grad, 2, out=self.grads["bias"])
        if self.x.ndim == 2:
            # "MO N" times "N C"
            torch.mm(grad.flatten(0, 1), self.x, out=self.grads["weight"].flatten(0, 1))
        else:
            # "M O N" times "M N C"
            torch.bmm(grad, self.x.transpose(1, 2), out=self.grads["weight"])
        # "M C O" times "M O N"
        return grad if is_first else torch.bmm(self.transposed, grad, out=self.input_grad)


class BatchNorm:
    """M batch norms in training (Ioffe & Szegedy 2015, algorithm 1 and its gradients), which centre in place."""

    def __init__(self, layer: nn.BatchNorm1d, tensors: Mapping[str, Tensor]) -> None:
        self.eps, self.momentum = layer.eps, layer.momentum
        # "M C 1"
        self.weight, self.bias = (tensors[name].detach().unsqueeze(2) if name in tensors else None for name in AFFINE)
        self.running = {name: tensor.unsqueeze(-1) for name, tensor in tensors.items() if name not in AFFINE}
        self.grads = {name: torch.empty_like(tensors[name], requires_grad=False) for name in AFFINE if name in tensors}
        self.shape: tuple[int, ...] = ()

    def _allocate(self, x: Tensor) -> None:
        self.shape, self.count = x.shape, x.shape[2]
        self.out, self.scratch = torch.empty_like(x), torch.empty_like(x)
        # "M C 1"
        small = [x.new_empty(*x.shape[:2], 1) for _ in range(6)]
        self.mean, self.squares, self.inverse, self.scale, *sums = small
        # Where they are the gradients of scale and shift, that is where they are written.
        self.projection, self.total = (
            self.grads.get(name, column.squeeze(2)) for name, column in zip(AFFINE, sums, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The normalised examples, scaled and shifted."""
        if x.shape != self.shape:
            self._allocate(x)
        # "M C 1"
        torch.mean(x, 2, keepdim=True, out=self.mean)
        self.centred = x.sub_(self.mean)
        torch.linalg.vector_norm(x, dim=2, keepdim=True, out=self.squares).square_()
        torch.mul(self.squares, 1 / self.count, out=self.inverse).add_(self.eps).rsqrt_()
        if self.running:
            self._update_running_stats(self.squares.mul_(1 / (self.count - 1)))
        self.factor = self.inverse if self.weight is None else torch.mul(self.inverse, self.weight, out=self.scale)
        # "M C N"
        torch.mul(x, self.factor, out=self.out)
        return self.out if self.bias is None else self.out.add_(self.bias)

    def _update_running_stats(self, unbiased_var: Tensor) -> None:
        """Let the running statistics follow; without a momentum they average all batches."""
        # "M 1"
        batches = self.running["num_batches_tracked"].add_(1)
        share = batches.to(unbiased_var.dtype).reciprocal().unsqueeze(1) if self.momentum is None else self.momentum
        # "M C 1"
        self.running["running_mean"].lerp_(self.mean, share)
        self.running["running_var"].lerp_(unbiased_var, share)

    def backward(self, grad: Tensor) -> Tensor:
        """The gradient of the input, in the place of that of the output."""
        # "M C": sums over the examples of the gradient, and of the gradient times the centred input
        torch.sum(grad, 2, out=self.total)
        torch.sum(torch.mul(grad, self.centred, out=self.scratch), 2, out=self.projection)
        # "M C 1": less the parts along the constant and along the output
        projection = self.projection.unsqueeze(2).mul_(self.inverse)
        torch.mul(self.centred, torch.mul(projection, self.inverse, out=self.mean), out=self.scratch)
        grad.sub_(self.total.unsqueeze(2), alpha=1 / self.count).sub_(self.scratch, alpha=1 / self.count)
        return grad.mul_(self.factor)


AFFINE = ("weight", "bias")
Step = Linear | BatchNorm | Activation


class MLPKernels:
    """A net of M models as a row of steps, with the gradients of all its weights."""

    def __init__(self, model: nn.Module, tensors: Mapping[str, Tensor], input_shape: tuple[int, ...]) -> None:
        self.steps: list[Step] = []
        self.grads: dict[str, Tensor] = {}
        for name, layer in match_layers(model, input_shape):
            layer_tensors = {n.rpartition(".")[2]: t for n, t in tensors.items() if n.rpartition(".")[0] == name}
            step = _step_of(layer, layer_tensors)
            self.steps.append(step)
            if not isinstance(step, Activation):
                self.grads |= {f"{name}.{n}".lstrip("."): grad for n, grad in step.grads.items()}

    def release_buffers(self) -> None:
        """Allocate anew in the next step."""
        for step in self.steps:
            if not isinstance(step, Activation):
                step.shape = ()

    def forward(self, x: Tensor, *, shared: bool) -> Tensor:
        """The output "M K N" for each model's own examples "N M ...", or for examples "N ..." that all share."""
        # "N ..." -> "N C", or "N M ..." -> "M C N"
        x = x.flatten(1) if shared else x.flatten(2).permute(1, 2, 0)
        self.outs = []
        for step in self.steps:
            if isinstance(step, Activation):
                step.forward(x)
            else:
                x = step.forward(x)
            self.outs.append(x)
        return x

    def backward(self, grad: Tensor) -> dict[str, Tensor]:
        """The gradients of the weights, by name, from that of the output, which is overwritten."""
        for i, step in reversed(list(enumerate(self.steps))):
            if isinstance(step, Activation):
                step.backward(grad, self.outs[i])
            elif isinstance(step, Linear):
                grad = step.backward(grad, is_first=i == 0)
            else:
                grad = step.backward(grad)
        return self.grads


def match_layers(model: nn.Module, input_shape: tuple[int, ...]) -> list[tuple[str, nn.Module]]:
    """The layers of a net that has kernels, with their names, without those that do nothing here.

    Each overwrites its input, so none may stand behind one that needs it still: NotStackableError where it would.
    """
    layers = [(name, layer) for name, layer in flatten_sequential(model) if type(layer) is not nn.Identity]
    if layers and type(layers[0][1]) is nn.Flatten:
        layers = layers[1:]
    elif len(input_shape) > 1:
        raise NotStackableError("its examples are no vectors and no Flatten comes first")
    previous: type | None = None
    for name, layer in layers:
        layer_type = Activation if type(layer) in ACTIVATION_KERNELS else type(layer)
        if layer_type not in MAY_FOLLOW.get(previous, ()):
            raise NotStackableError(f"{name}: {type(layer).__name__} has no kernel in this position")
        previous = layer_type
    if previous is not nn.Linear:
        raise NotStackableError("its last layer is not linear")
    return layers


MAY_FOLLOW: dict[type | None, tuple[type, ...]] = {
    None: (nn.Linear,),  # the first layer
    nn.Linear: (nn.Linear, nn.BatchNorm1d, Activation),
    nn.BatchNorm1d: (nn.Linear, Activation),
    Activation: (nn.Linear,),
}


def _step_of(layer: nn.Module, tensors: Mapping[str, Tensor]) -> Step:
    if isinstance(layer, nn.Linear):
        return Linear(tensors)
    return BatchNorm(layer, tensors) if isinstance(layer, nn.BatchNorm1d) else ACTIVATION_KERNELS[type(layer)]


def flatten_sequential(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers of nested nn.Sequential in their order, with their names."""
    if type(model) is not nn.Sequential:
        yield prefix, model
        return
    for name, child in model.named_children():
        yield from flatten_sequential(child, f"{prefix}.{name}".lstrip("."))
