"""Modules that hold what torch allows, at random: blocks that are data, and the models that are made of them.

A block keeps the width of what goes through it. Ranks import this, and so it imports little.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

WIDTH = 4
BUFFER_DTYPES = (
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
)
SHAPES = ((), (WIDTH,), (0,), (0, 3))
NAMES = ("module", "_orig_mod", "a/b", "weight", "0")


@dataclass(frozen=True)
class Block:
    """What a block is, and what it is made with."""

    kind: str
    options: tuple[Any, ...] = ()


class Constant(nn.Module):
    """A buffer that scales what goes through, where it can; and one that is None."""

    def __init__(self, dtype: torch.dtype, shape: tuple[int, ...], persistent: bool) -> None:
        super().__init__()
        self.register_buffer("by", (1.5 * torch.ones(shape)).to(dtype), persistent=persistent)
        self.register_buffer("nothing", None)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.by.real.to(x.dtype) if self.by.numel() else x


class Running(nn.Module):
    """Takes a running mean off, and counts its batches."""

    def __init__(self, persistent: bool) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(WIDTH), persistent=persistent)
        self.register_buffer("count", torch.tensor(0, dtype=torch.int32), persistent=persistent)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(x.detach().mean(0), 0.1)
                self.count.add_(1)
        return x - self.mean


class ExtraState(nn.Linear):
    """A layer whose state_dict holds more than tensors."""

    def __init__(self) -> None:
        super().__init__(WIDTH, WIDTH)
        self.scales = {"history": torch.arange(3), 7: (1, [2.5, None, math.inf], "text", b"bytes")}

    def get_extra_state(self) -> Any:
        return self.scales

    def set_extra_state(self, state: Any) -> None:
        assert torch.equal(state.pop("history"), self.scales["history"])
        assert state == {7: self.scales[7]}


class Renaming(nn.Linear):
    """A layer whose state_dict has another name for its weight, and has it the other way round."""

    def __init__(self) -> None:
        super().__init__(WIDTH, WIDTH)
        self.register_state_dict_post_hook(_rename)
        self.register_load_state_dict_pre_hook(_rename_back)


def _rename(layer: nn.Module, state: dict, prefix: str, *_: Any) -> None:  # noqa: ARG001
    state[f"{prefix}kernel"] = state.pop(f"{prefix}weight").T.clone()


def _rename_back(layer: nn.Module, state: dict, prefix: str, *_: Any) -> None:  # noqa: ARG001
    state[f"{prefix}weight"] = state.pop(f"{prefix}kernel").T


class PlainTensor(nn.Module):
    """A tensor that is no buffer, made by reading numbers off another."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = torch.tensor([number.item() for number in torch.linspace(0.5, 1.5, WIDTH)], dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scales.to(x.dtype)


class Double(nn.Module):
    """Single-precision models too may have a parameter in double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(WIDTH, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (x.double() * self.gain).to(x.dtype)


class Unused(nn.Module):
    """Parameters that nothing depends on, some of them of no elements."""

    def __init__(self) -> None:
        super().__init__()
        self.spare, self.empty = nn.Linear(3, 2), nn.Parameter(torch.empty(0, 2))

    def forward(self, x: Tensor) -> Tensor:
        return x


class Frozen(nn.Module):
    """A parameter that is not trained, of any type."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH).to(dtype), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.real.to(x.dtype)


class Lists(nn.Module):
    """Parameters in lists and dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.some = nn.ParameterList([torch.ones(WIDTH), torch.zeros(WIDTH)])
        self.others = nn.ParameterDict({"module": torch.ones(WIDTH)})

    def forward(self, x: Tensor) -> Tensor:
        return x * self.some[0] * self.others["module"] + self.some[1]


class Doubled(nn.Module):
    """A parametrisation of one's own."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x

    def right_inverse(self, x: Tensor) -> Tensor:
        return x / 2


class Named(nn.Module):
    """A module with its only child under a name of choice."""

    def __init__(self, name: str, child: nn.Module) -> None:
        super().__init__()
        self.child = nn.ModuleDict({name: child})

    def forward(self, x: Tensor) -> Tensor:
        (child,) = self.child.values()
        return child(x)


class Wrapper(nn.Module):
    """All names of its tensors begin with "module."."""

    def __init__(self, child: nn.Module) -> None:
        super().__init__()
        self.module = child

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)


PARAMETRISED: dict[str, Callable[[nn.Linear], nn.Module]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "own": lambda layer: parametrize.register_parametrization(layer, "weight", Doubled()),
}


def _linear() -> nn.Linear:
    return nn.Linear(WIDTH, WIDTH)


def _frozen_linear(name: str) -> nn.Module:
    layer = _linear()
    getattr(layer, name).requires_grad_(False)
    return layer


def _tied(name: str) -> nn.Module:
    one, other = _linear(), _linear()
    setattr(other, name, getattr(one, name))
    return nn.Sequential(one, nn.Tanh(), other)


def _tied_buffers() -> nn.Module:
    one, other = Running(True), Running(True)
    other.mean = one.mean
    return nn.Sequential(one, _linear(), other)


def _twice() -> nn.Module:
    layer, activation = _linear(), nn.Tanh()
    return nn.Sequential(layer, activation, layer, activation)


MAKE: dict[str, Callable[..., nn.Module]] = {
    "linear": _linear,
    "tanh": nn.Tanh,
    "frozen linear": _frozen_linear,
    "tied": _tied,
    "tied buffers": _tied_buffers,
    "twice": _twice,
    "constant": Constant,
    "running": Running,
    "extra state": ExtraState,
    "renaming": Renaming,
    "plain tensor": PlainTensor,
    "double": Double,
    "unused": Unused,
    "frozen": Frozen,
    "lists": Lists,
    "parametrised": lambda how: PARAMETRISED[how](_linear()),
}

BLOCKS = st.one_of(
    *(st.just(Block(kind)) for kind in ("linear", "tanh", "tied buffers", "twice", "extra state", "renaming")),
    *(st.just(Block(kind)) for kind in ("plain tensor", "double", "unused", "lists", "norm")),
    st.builds(Block, st.sampled_from(["frozen linear", "tied"]), st.tuples(st.sampled_from(["weight", "bias"]))),
    st.builds(
        Block, st.just("constant"), st.tuples(st.sampled_from(BUFFER_DTYPES), st.sampled_from(SHAPES), st.booleans())
    ),
    st.builds(Block, st.just("running"), st.tuples(st.booleans())),
    st.builds(Block, st.just("frozen"), st.tuples(st.sampled_from(BUFFER_DTYPES))),
    st.builds(Block, st.just("parametrised"), st.tuples(st.sampled_from(sorted(PARAMETRISED)))),
    st.builds(Block, st.just("named"), st.tuples(st.sampled_from(NAMES))),
    st.builds(Block, st.just("again"), st.tuples(st.integers(0, 3))),
)


def make(blocks: Sequence[Block], wrapped: bool, inputs: tuple[int, ...], classes: int, norm: Any) -> nn.Module:
    """The model of these blocks; "again" is an earlier one once more."""
    modules: list[nn.Module] = []
    for block in blocks:
        if block.kind == "again":
            modules += modules[block.options[0] :][:1]
        elif block.kind == "norm":
            modules.append(norm(WIDTH))
        elif block.kind == "named":
            modules.append(Named(block.options[0], _linear()))
        else:
            modules.append(MAKE[block.kind](*block.options))
    first, last = nn.Linear(math.prod(inputs), WIDTH), nn.Linear(WIDTH, classes)
    model = nn.Sequential(nn.Flatten(), first, *modules, last)
    return Wrapper(model) if wrapped else model


def factory(blocks: Sequence[Block], wrapped: bool = False) -> Callable[..., nn.Module]:
    """The function that a suite would bring."""
    return lambda inputs, classes, norm: make(blocks, wrapped, inputs, classes, norm)


KINDS: dict[str, tuple[Block, ...]] = {  # one of each
    **{kind: (Block(kind),) for kind in ("twice", "tied buffers", "extra state", "renaming", "plain tensor")},
    **{kind: (Block(kind), Block("norm")) for kind in ("double", "unused", "lists")},
    **{f"tied {name}": (Block("tied", (name,)),) for name in ("weight", "bias")},
    **{f"frozen {name}": (Block("frozen linear", (name,)), Block("norm")) for name in ("weight", "bias")},
    **{f"a constant of {dtype}": (Block("constant", (dtype, (WIDTH,), True)),) for dtype in BUFFER_DTYPES},
    **{f"a parameter of {dtype}": (Block("frozen", (dtype,)),) for dtype in BUFFER_DTYPES},
    **{f"a constant of shape {shape}": (Block("constant", (torch.float32, shape, True)),) for shape in SHAPES},
    "a constant that is not persistent": (Block("constant", (torch.float32, (WIDTH,), False)),),
    "a running mean": (Block("running", (True,)),),
    "a running mean that is not persistent": (Block("running", (False,)),),
    **{how: (Block("parametrised", (how,)),) for how in PARAMETRISED},
    **{f"a child called {name}": (Block("named", (name,)), Block("norm")) for name in NAMES},
    "one module in two places": tuple(
        Block(kind, tuple(options))
        for kind, *options in (("linear",), ("norm",), ("tanh",), ("again", 0), ("again", 1))
    ),
}
FACTORIES: dict[str, Callable[..., nn.Module]] = {kind: factory(blocks) for kind, blocks in KINDS.items()}
