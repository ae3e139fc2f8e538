"""A trained module's `state_dict` out of the tensors that training had, and a module again out of it.

What a state_dict holds is for the module to say: it has tied weights under each of their names, lacks buffers that are
not persistent, may have extra state, and hooks may change all of it. So a module is asked, one that is built again as
it will be built when the file is loaded. What its own `load_state_dict` doesn't bring back is kept beside it.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness.export.plain_values import decode, encode
from harness.nn.module_state import tensors_of
from harness.nn.tensor_bytes import as_bytes

VALUE = "value"  # the key of what is no tensor


@dataclass(frozen=True, slots=True)
class SavedState:
    """A state_dict, whose tensors lie elsewhere by name, and what it leaves out."""

    entries: Mapping[str, Any]  # name in the state_dict -> name of its tensor, or {VALUE: ...} as JSON
    others: Mapping[str, Tensor]  # the tensors that are none of the module's own, by name
    left_out: Mapping[str, Any]  # name of a parameter or buffer -> its value as JSON


@torch.no_grad()
def saved_state(build: Callable[[], nn.Module], tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> SavedState:
    """The state of a module with these parameters and buffers, each of which lies elsewhere by its name in `names`."""
    module = build()
    load_tensors(module, tensors)
    own = {_identity(tensor): names[name] for name, tensor in tensors_of(module).items()}
    entries, others = dict[str, Any](), dict[str, Tensor]()
    state = module.state_dict()
    for key, value in state.items():
        if not isinstance(value, Tensor):
            entries[key] = {VALUE: encode(value)}
        elif _identity(value) in own:
            entries[key] = own[_identity(value)]
        else:
            entries[key] = f"state/{key}"
            others[entries[key]] = value.detach().clone()
    again = build()
    again.load_state_dict(state)
    loaded = tensors_of(again)
    left_out = {name: encode(tensor) for name, tensor in tensors.items() if not is_equal(loaded[name], tensor)}
    return SavedState(entries, others, left_out)


def state_dict_of(entries: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The state_dict of these entries, with the tensors that they name."""
    return {key: decode(entry[VALUE]) if isinstance(entry, dict) else tensors[entry] for key, entry in entries.items()}


@torch.no_grad()
def load_state(module: nn.Module, state: Mapping[str, Any], left_out: Mapping[str, Any]) -> None:
    """Let the module have a state_dict, and what that leaves out."""
    versioned = OrderedDict(state)
    versioned._metadata = module.state_dict()._metadata  # type: ignore[attr-defined] # versions: of the same code
    module.load_state_dict(versioned)
    load_tensors(module, {name: decode(value) for name, value in left_out.items()})


@torch.no_grad()
def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Overwrite parameters and buffers by their first names, in place; ValueError where one doesn't fit."""
    own = tensors_of(module)
    for name, tensor in tensors.items():
        if name not in own or own[name].shape != tensor.shape or own[name].dtype != tensor.dtype:
            raise ValueError(f"the module has no such tensor as {name!r}")
        own[name].copy_(tensor)


def is_equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal, where NaN equals NaN."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(as_bytes(one.cpu()), as_bytes(other.cpu()))


def _identity(tensor: Tensor) -> tuple[object, ...]:
    """What two tensors have in common that are views of the same numbers."""
    return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()
