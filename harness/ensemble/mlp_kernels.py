"""Nets of vectors without autograd: layers in a row, each with its gradient written out, working in memory of its own.

Small models spend their time on moving numbers, not on computing them. Here no step allocates, an activation overwrites
its input, and a gradient the gradient that it is made from. All tensors are "M C N": models, channels, examples.

A chain is one linear layer after another, each with a batch norm and an activation behind it or without; a Flatten may
come first. To add an activation: one entry in ACTIVATIONS.
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from harness.ensemble.stacked_layers import NotStackableError

aten = torch.ops.aten

# Each overwrites what it is given: the activation its input; the gradient what comes from behind, by way of the output.
Activation = tuple[Callable[[Tensor], object], Callable[[Tensor, Tensor], object]]
ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.ReLU: (
        lambda x: x.clamp_min_(0),
        lambda grad, out: aten.threshold_backward.grad_input(grad, out, 0, grad_input=grad),
    ),
    nn.Tanh: (torch.tanh_, lambda grad, out: aten.tanh_backward.grad_input(grad, out, grad_input=grad)),
    nn.Sigmoid: (torch.sigmoid_, lambda grad, out: aten.sigmoid_backward.grad_input(grad, out, grad_input=grad)),
}


class Linear:
    """M linear layers."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        weight, bias = tensors["weight"].detach(), tensors.get("bias")
        self.weight, self.flat, self.turned = weight, weight.flatten(0, 1), weight.transpose(1, 2)
        self.bias = None if bias is None else bias.detach().unsqueeze(2)
        self.grads = {name: torch.empty_like(tensor, requires_grad=False) for name, tensor in tensors.items()}
        self.shape: tuple[int, ...] = ()

    def _allocate(self, x: Tensor) -> None:
        self.shape = x.shape
        models, channels, inputs = self.weight.shape
        count = len(x) if x.ndim == 2 else x.shape[2]
        self.out = self.weight.new_empty(models, channels, count)
        self.before = self.weight.new_empty(models, inputs, count)

    def forward(self, x: Tensor) -> Tensor:
        """The output for each model's own examples, or for examples "N C" that all share."""
        if x.shape != self.shape:
            self._allocate(x)
        self.x = x
        if x.ndim == 2:
            torch.mm(self.flat, x.T, out=self.out.flatten(0, 1))
            return self.out if self.bias is None else self.out.add_(self.bias)
        if self.bias is None:
            return torch.bmm(self.weight, x, out=self.out)
        return torch.baddbmm(self.bias, self.weight, x, out=self.out)

    def backward(self, grad: Tensor, *, first: bool) -> Tensor:
        """The gradient of the input, unless the layer is the first; those of the weights are kept."""
        if self.bias is not None:
            torch.sum(grad, 2, out=self.grads["bias"])
        if self.x.ndim == 2:
            torch.mm(grad.flatten(0, 1), self.x, out=self.grads["weight"].flatten(0, 1))
        else:
            torch.bmm(grad, self.x.transpose(1, 2), out=self.grads["weight"])
        return grad if first else torch.bmm(self.turned, grad, out=self.before)


class BatchNorm:
    """M batch norms in training (Ioffe & Szegedy 2015, algorithm 1 and its gradients), which centre in place."""

    def __init__(self, layer: nn.BatchNorm1d, tensors: Mapping[str, Tensor]) -> None:
        self.eps, self.momentum = layer.eps, layer.momentum
        self.weight, self.bias = (
            t.detach().unsqueeze(2) if (t := tensors.get(n)) is not None else None for n in AFFINE
        )
        self.running = {name: tensor.unsqueeze(-1) for name, tensor in tensors.items() if name not in AFFINE}
        self.grads = {name: torch.empty_like(tensors[name], requires_grad=False) for name in AFFINE if name in tensors}
        self.shape: tuple[int, ...] = ()

    def _allocate(self, x: Tensor) -> None:
        self.shape, self.count = x.shape, x.shape[2]
        self.out, self.scratch = torch.empty_like(x), torch.empty_like(x)
        small = [x.new_empty(*x.shape[:2], 1) for _ in range(6)]
        self.mean, self.squares, self.inverse, self.scale, *others = small
        # Where they are the gradients of scale and shift, that is where they are written.
        self.along, self.total = (self.grads.get(n, t.squeeze(2)) for n, t in zip(AFFINE, others, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """The normalised examples, scaled and shifted."""
        if x.shape != self.shape:
            self._allocate(x)
        torch.mean(x, 2, keepdim=True, out=self.mean)
        self.centred = x.sub_(self.mean)
        torch.linalg.vector_norm(x, dim=2, keepdim=True, out=self.squares).square_()
        torch.mul(self.squares, 1 / self.count, out=self.inverse).add_(self.eps).rsqrt_()
        if self.running:
            self._update_running_stats(self.squares.mul_(1 / (self.count - 1)))
        scale = self.inverse if self.weight is None else torch.mul(self.inverse, self.weight, out=self.scale)
        self.used = scale
        torch.mul(x, scale, out=self.out)
        return self.out if self.bias is None else self.out.add_(self.bias)

    def _update_running_stats(self, unbiased: Tensor) -> None:
        """Let the running statistics follow; without a momentum they average all batches."""
        seen = self.running["num_batches_tracked"].add_(1)
        share = seen.to(unbiased.dtype).reciprocal().unsqueeze(1) if self.momentum is None else self.momentum
        self.running["running_mean"].lerp_(self.mean, share)
        self.running["running_var"].lerp_(unbiased, share)

    def backward(self, grad: Tensor) -> Tensor:
        """The gradient of the input, in the place of that of the output."""
        torch.sum(grad, 2, out=self.total)
        torch.sum(torch.mul(grad, self.centred, out=self.scratch), 2, out=self.along)
        along = self.along.unsqueeze(2).mul_(self.inverse)
        torch.mul(self.centred, torch.mul(along, self.inverse, out=self.mean), out=self.scratch)
        grad.sub_(self.total.unsqueeze(2), alpha=1 / self.count).sub_(self.scratch, alpha=1 / self.count)
        return grad.mul_(self.used)


AFFINE = ("weight", "bias")


class MLPKernels:
    """A net of M models as a row of layers, with the gradients of all its weights."""

    def __init__(self, model: nn.Module, tensors: Mapping[str, Tensor], input_shape: tuple[int, ...]) -> None:
        self.steps: list[Linear | BatchNorm | Activation] = []
        letters = ""
        self.grads: dict[str, Tensor] = {}
        for name, layer in _row(model):
            own = {n.removeprefix(f"{name}."): t for n, t in tensors.items() if n.rpartition(".")[0] == name}
            letters += LETTERS.get(type(layer), "?")
            made: Linear | BatchNorm | Activation | None = None
            if isinstance(layer, nn.Linear):
                made = Linear(own)
            elif isinstance(layer, nn.BatchNorm1d):
                made = BatchNorm(layer, own)
            elif type(layer) in ACTIVATIONS:
                made = ACTIVATIONS[type(layer)]
            if made is not None:
                self.steps.append(made)
            if isinstance(made, Linear | BatchNorm):
                self.grads |= {f"{name}.{n}": grad for n, grad in made.grads.items()}
        if not re.fullmatch(f"{'F' if len(input_shape) > 1 else 'F?'}(LB?A?)*L", letters):
            raise NotStackableError("it is not a row of linear layers, batch norms and activations")

    def release_buffers(self) -> None:
        """Allocate anew in the next step: a recording must own the memory that it writes to."""
        for step in self.steps:
            if not isinstance(step, tuple):
                step.shape = ()

    def forward(self, x: Tensor, *, shared: bool) -> Tensor:
        """The output "M K N" for each model's own examples "N M ...", or for examples "N ..." that all share."""
        x = x.flatten(1) if shared else x.flatten(2).permute(1, 2, 0)
        self.outs = []
        for step in self.steps:
            if isinstance(step, tuple):
                step[0](x)
            else:
                x = step.forward(x)
            self.outs.append(x)
        return x

    def backward(self, grad: Tensor) -> dict[str, Tensor]:
        """The gradients of the weights, by name, from that of the output, which is overwritten."""
        for i, step in reversed(list(enumerate(self.steps))):
            if isinstance(step, tuple):
                step[1](grad, self.outs[i])
            elif isinstance(step, Linear):
                grad = step.backward(grad, first=i == 0)
            else:
                grad = step.backward(grad)
        return self.grads


LETTERS: dict[type[nn.Module], str] = {
    nn.Flatten: "F",
    nn.Linear: "L",
    nn.BatchNorm1d: "B",
    nn.Identity: "",
    **dict.fromkeys(ACTIVATIONS, "A"),
}


def _row(model: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """The layers of nested nn.Sequential in their order, with their names."""
    if type(model) is not nn.Sequential:
        return [(prefix, model)]
    return [entry for name, child in model.named_children() for entry in _row(child, f"{prefix}.{name}".lstrip("."))]
