"""Blocks of a network that do more than map their input, each as somebody has written it."""

import random
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 6


class AssignedMean(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(WIDTH))

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return x - self.mean


class UpdatedMean(AssignedMean):
    def forward(self, x):
        if self.training:
            self.mean.mul_(0.9).add_(x.detach().mean(0), alpha=0.1)
        return x - self.mean


class CountedSteps(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("steps", torch.tensor(0), persistent=False)

    def forward(self, x):
        if self.training:
            self.steps = self.steps + 1
        return x * (1 + 0.01 * self.steps)


class SwappedBuffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("one", torch.full((WIDTH,), 0.5))
        self.register_buffer("other", torch.ones(WIDTH))

    def forward(self, x):
        if self.training:
            self.one, self.other = self.other, self.one
        return x * self.one


class LastSeen(nn.Module):
    def forward(self, x):
        self.last = x.detach()
        return x


class Mapping(nn.Module):
    def __init__(self, function: Callable[[nn.Module, Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def hooked(block: nn.Module, kind: str) -> nn.Module:
    if kind == "forward":
        block.register_forward_hook(lambda module, args, out: 0.5 * out)
    elif kind == "pre":
        block.register_forward_pre_hook(lambda module, args: (args[0] + 0.1,))
    elif kind == "backward":
        block.register_full_backward_hook(lambda module, grad_in, grad_out: (2 * grad_in[0],))
    elif kind == "parameter":
        mask = torch.rand(WIDTH, WIDTH).round()
        block.weight.register_hook(lambda grad: grad * mask)
    return block


class ClosedOver(nn.Module):
    """A hook that reads a parameter of the model that it belongs to."""

    def __init__(self):
        super().__init__()
        self.gain, self.inner = nn.Parameter(torch.ones(WIDTH)), nn.Linear(WIDTH, WIDTH)
        self.inner.register_forward_hook(lambda module, args, out: out * self.gain)

    def forward(self, x):
        return self.inner(x)


class Permuted(nn.Module):
    def __init__(self):
        super().__init__()
        self.order = torch.randperm(WIDTH)

    def forward(self, x):
        return x[:, self.order]


KEPT: dict[str, Callable[[], nn.Module]] = {  # what has to be trained as a plain loop trains it
    "relu": nn.ReLU,
    "batch norm": partial(nn.BatchNorm1d, WIDTH),
    "assigned buffer": AssignedMean,
    "updated buffer": UpdatedMean,
    "integer buffer": CountedSteps,
    "swapped buffers": SwappedBuffers,
    "last seen": LastSeen,
    "permuted": Permuted,
    "closed over": ClosedOver,
    **{
        f"{kind} hook": partial(lambda kind: hooked(nn.Linear(WIDTH, WIDTH), kind), kind)
        for kind in ("forward", "pre", "backward", "parameter")
    },
}


def skip_at_random(module: nn.Module, x: Tensor) -> Tensor:  # noqa: ARG001
    return x if random.random() < 0.5 else 2 * x


DRAWING: dict[str, Callable[[], nn.Module]] = {  # what has to be a function of the seed
    "dropout": partial(nn.Dropout, 0.3),
    "functional dropout": partial(Mapping, lambda module, x: F.dropout(x, 0.3, module.training)),
    "dropout in evaluation": partial(Mapping, lambda module, x: F.dropout(x, 0.3)),
    "rrelu": nn.RReLU,
    "noise": partial(Mapping, lambda module, x: x + 0.1 * torch.randn_like(x) if module.training else x),
    "scale": partial(Mapping, lambda module, x: x * torch.rand(1)),
    "mask": partial(Mapping, lambda module, x: x * torch.bernoulli(torch.full_like(x, 0.7))),
    "alpha dropout": partial(nn.AlphaDropout, 0.2),
    "numpy": partial(Mapping, lambda module, x: x + torch.from_numpy(np.random.randn(WIDTH)).to(x)),  # noqa: NPY002
    "python": partial(Mapping, skip_at_random),
}


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.k = 0

    def forward(self, x):
        self.k += 1
        return x * (1 + 0.01 * self.k)


class Remembering(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x.detach().mean())
        return x - self.seen[-1]


class Reassigned(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean = torch.zeros(WIDTH)

    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return x - self.mean


class Annealed(nn.Module):
    def __init__(self):
        super().__init__()
        self.temperature = 2.0

    def forward(self, x):
        self.temperature *= 0.99
        return x / self.temperature


class OwnGenerator(nn.Module):
    def __init__(self):
        super().__init__()
        self.rng = torch.Generator().manual_seed(0)

    def forward(self, x):
        return x + torch.randn(WIDTH, generator=self.rng)


class OwnNumpyGenerator(nn.Module):
    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def forward(self, x):
        return x + float(self.rng.normal())


class UnseededWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.from_numpy(np.random.default_rng().normal(size=WIDTH)).float())

    def forward(self, x):
        return x * self.scale


class CountedInEvaluation(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, x):
        self.calls += 1
        return x * (1 + 0.01 * self.calls)


class MadeLate(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", None)

    def forward(self, x):
        if self.mean is None:
            self.mean = x.detach().mean(0)
        return x - self.mean


class OfTheClass(nn.Module):
    calls = 0

    def forward(self, x):
        type(self).calls += 1
        return x * (1 + 0.01 * self.calls)


CALLS = [0]


def of_the_file(module: nn.Module, x: Tensor) -> Tensor:  # noqa: ARG001
    CALLS[0] += 1
    return x * (1 + 0.01 * CALLS[0])


def counting_hook() -> nn.Module:
    calls = []
    block = nn.Linear(WIDTH, WIDTH)
    block.register_forward_hook(lambda module, args, out: calls.append(0) or out * len(calls))
    return block


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {  # and what the refusal says
    "a count": (Counting, "'k'"),
    "a list": (Remembering, "'seen'"),
    "a plain tensor": (Reassigned, "self.register_buffer('mean'"),
    "a float": (Annealed, "'temperature'"),
    "a generator of torch": (OwnGenerator, "generator of its own, 'rng'"),
    "a generator of numpy": (OwnNumpyGenerator, "generator of its own, 'rng'"),
    "entropy in the constructor": (UnseededWeights, "scale each time from the same seed"),
    "entropy in forward": (
        partial(Mapping, lambda module, x: x + float(np.random.default_rng().normal())),
        "gives another output each time",
    ),
    "time": (partial(Mapping, lambda module, x: x * (time.time() % 7)), "gives another output each time"),
    "a buffer in evaluation": (CountedInEvaluation, "calls' in evaluation"),
    "a buffer that is made late": (MadeLate, "'mean'"),
    "a count of the class": (OfTheClass, "'calls'"),
    "a count of the file": (partial(Mapping, of_the_file), "a variable in forward that function reads"),
    "a count of a hook": (counting_hook, "a variable in forward that hook '<lambda>' reads"),
}
