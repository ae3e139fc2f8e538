"""What a module holds besides the values of its parameters and buffers, written down so that it can be compared.

Plain attributes, what functions and hooks close over, attributes of its class, and variables of the file that its
forward reads: everything that a forward pass could change and that neither a checkpoint nor a cohort keeps apart.
"""

import hashlib
import random
import re
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.ensemble.module_copy import HOOKS

Place = tuple[str, str]  # the name of a module, and what it is of it
Seen = dict[int, tuple[str, Any]]  # id of an object -> how it is written down from now on, and the object
TENSORS = ("_parameters", "_buffers")
NOT_STATE = {"training", "_modules", *TENSORS, *HOOKS}
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
OURS = ("torch", "harness")  # packages whose classes and functions keep no state


def python_state(model: nn.Module) -> dict[Place, str]:
    """Where something is held -> what it is."""
    seen: Seen = {id(module): (f"module {name!r}", module) for name, module in model.named_modules()}
    state: dict[Place, str] = {}
    for name, module in model.named_modules():
        for what, value in _held(module):
            state[name, what] = _digest(_plain(value, seen))
        for kind in TENSORS:
            for tensor_name, tensor in getattr(module, kind).items():
                state[name, tensor_name] = "None" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"
    return state


def _held(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        if name not in NOT_STATE:
            yield name, value
    for hooks in HOOKS:
        for hook in getattr(module, hooks).values():
            yield f"hook {getattr(hook, '__name__', type(hook).__name__)!r}", hook
    for name, weight in module._parameters.items():
        for hook in (None if weight is None else weight._backward_hooks) or ():
            yield f"hook of {name}", weight._backward_hooks[hook]  # type: ignore[union-attr,index]
    for owner in type(module).__mro__:
        if owner is object or owner.__module__.partition(".")[0] in OURS:
            break
        for name, value in vars(owner).items():
            if isinstance(value, FunctionType):
                yield f"{owner.__name__}.{name}", value
            elif not name.startswith("__"):
                yield name, _data_only(value)


def _digest(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 64 else hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any, seen: Seen) -> Any:
    """The value in terms of texts, numbers and tuples; what can't be looked into is named by its type."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        return repr(value)
    if id(value) in seen:
        return seen[id(value)][0]
    seen[id(value)] = "seen", value
    inner = partial(_plain, seen=seen)
    match value:
        case Tensor():
            return _plain_tensor(value)
        case np.ndarray() if not value.dtype.hasobject:
            return str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()
        case torch.Generator():
            return _plain_tensor(value.get_state())
        case np.random.Generator():
            return inner(value.bit_generator.state)
        case np.random.RandomState():
            return inner(value.get_state())
        case random.Random():
            return inner(value.getstate())
        case nn.Module():  # that the model doesn't know of
            tensors = [inner(tensor) for tensor in (*value.parameters(), *value.buffers())]
            return type(value).__name__, tensors, [(name, inner(held)) for name, held in _held(value)]
        case Mapping():
            return type(value).__name__, [(inner(key), inner(value[key])) for key in value]
        case set() | frozenset():
            return type(value).__name__, sorted(repr(inner(item)) for item in value)
        case FunctionType():
            return _plain_function(value, seen)
        case MethodType():
            return inner(value.__func__), inner(value.__self__)
        case partial():
            return inner(value.func), inner(value.args), inner(value.keywords)
        case type() | ModuleType() | BuiltinFunctionType():
            return value.__name__
    if isinstance(value, list | tuple | deque):
        return type(value).__name__, [inner(item) for item in value]
    if hasattr(value, "__dict__"):
        return type(value).__name__, [(name, inner(item)) for name, item in vars(value).items()]
    return _repr(value)


def _plain_tensor(tensor: Tensor) -> Any:
    if tensor.is_meta or tensor.layout is not torch.strided:
        return str(tensor.dtype), tuple(tensor.shape)
    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return str(tensor.dtype), tuple(tensor.shape), hashlib.sha256(raw).hexdigest()


def _plain_function(function: FunctionType, seen: Seen) -> Any:
    """Its name, defaults, what it closes over, and the data among the variables of its file that it names."""
    name = f"{function.__module__}.{function.__qualname__}"
    if (function.__module__ or "").partition(".")[0] in OURS:
        return name
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(_plain(cell.cell_contents, seen))
        except ValueError:  # nothing was ever assigned to it
            cells.append("empty")
    names = [name for name in function.__code__.co_names if name in function.__globals__]
    read = [(name, _plain(_data_only(function.__globals__[name]), seen)) for name in names]
    return name, cells, _plain(function.__defaults__, seen), read


def _data_only(value: Any) -> Any:
    """The value where it is data that may change; functions, classes and modules of others are not looked into."""
    kinds = (bool, int, float, complex, str, bytes, Tensor, np.ndarray, np.generic, list, tuple, dict, set, deque)
    generators = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
    return value if isinstance(value, (*kinds, *generators)) else None


def _repr(value: Any) -> str:
    try:
        return ADDRESS.sub("", repr(value))
    except Exception:  # noqa: BLE001 (of a class that somebody else has written)
        return type(value).__name__
