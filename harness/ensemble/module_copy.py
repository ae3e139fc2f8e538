"""Copies of modules whose hooks and functions belong to the copy.

`copy.deepcopy` takes functions as they are: a hook or a lambda that closes over a module would go on reading the one
that was copied.
"""

from copy import deepcopy
from types import CellType, FunctionType
from typing import Any

from torch import nn

HOOKS = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)  # of a module: id -> function


def has_hooks(model: nn.Module) -> bool:
    """Whether something is to be called with the calls of its modules, or with gradients of its parameters."""
    return any(getattr(module, hooks) for module in model.modules() for hooks in HOOKS) or any(
        weight._backward_hooks for weight in model.parameters()
    )


def copy_module(model: nn.Module) -> nn.Module:
    """A deep copy; what functions among its attributes and hooks close over is the copy's own where it is of the model.

    Hooks of parameters, which torch doesn't copy, are the same ones.
    """
    memo: dict[int, Any] = {}
    copy = deepcopy(model, memo)
    for module in copy.modules():
        for attributes in (module.__dict__, *(getattr(module, hooks) for hooks in HOOKS)):
            for name, value in attributes.items():
                if isinstance(value, FunctionType) and value.__closure__:
                    attributes[name] = _rebound(value, memo)
    for weight, copied in zip(model.parameters(), copy.parameters(), strict=True):
        copied._backward_hooks = weight._backward_hooks
    return copy


def _rebound(function: FunctionType, memo: dict[int, Any]) -> FunctionType:
    """The function with the copies of what it closes over, where they were copied."""
    cells = tuple(_copied_cell(cell, memo) for cell in function.__closure__ or ())
    rebound = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)
    rebound.__kwdefaults__, rebound.__dict__ = function.__kwdefaults__, dict(function.__dict__)
    return rebound


def _copied_cell(cell: CellType, memo: dict[int, Any]) -> CellType:
    try:
        content = cell.cell_contents
    except ValueError:  # nothing was ever assigned to it
        return cell
    return CellType(memo[id(content)]) if id(content) in memo else cell
