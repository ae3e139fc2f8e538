"""Trained models loaded from files: without knowing their class, and without trusting who wrote them.

Nothing here unpickles, except `module` files where the caller allows it: torch.load gets weights_only=True, and what it
returns is checked against the size of the file. ModelError, in one line, for everything that is not a whole model.
"""

import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import HarnessError, MachineError, ModelError, UsageError
from harness.export.embedded_checksum import FOREIGN, ZIP, entries, read_checked
from harness.export.formats import EXTRA_STATE, FACTS_MEMBER, METADATA, missing_package
from harness.export.model_card import MAX_FACTS, build_trained, check
from harness.export.pickles import unpickled
from harness.export.plain_values import decode
from harness.io import parse_object
from harness.spec.suite import Functions

LOADABLE = ("checkpoint", "state_dict", "module", "safetensors")
STATE_DICTS = ("model_state_dict", "optimizer_state_dict")  # of a checkpoint; its other entries are the model card's
Device = str | torch.device


def load_model(
    path: str | Path, map_location: Device = "cpu", allow_pickle: bool = False, factories: Functions | None = None
) -> nn.Module:
    """The model in a file that `export` wrote, in evaluation mode on a device.

    A model that is a function of a suite needs that function: `factories={name: function}`. A `module` file runs what
    its author put into it, and is read only with `allow_pickle`.
    """
    model, _ = load_with_facts(path, map_location, allow_pickle, factories)
    return model


def load_with_facts(
    path: str | Path, map_location: Device = "cpu", allow_pickle: bool = False, factories: Functions | None = None
) -> tuple[nn.Module, Mapping[str, Any]]:
    """The model in a file, and its model card."""
    file, device = Path(path), _device(map_location)
    data = read_checked(file)
    facts = _read_facts(file, data)
    if facts["form"] == "module" and not allow_pickle:
        raise ModelError(
            f"{path} is a pickled module: loading it runs whatever its author put into it. If you trust the author, "
            "say --allow-pickle (allow_pickle=True); a checkpoint, state_dict or safetensors file needs no trust"
        )
    try:
        if facts["form"] == "module":
            return unpickled(data, device).eval(), facts
        return build_trained(facts, _state(data, facts), factories or {}).to(device), facts
    except MachineError:
        raise
    except HarnessError as error:
        raise ModelError(f"{path}: {error}") from error
    except Exception as error:
        raise ModelError(f"{path} is not a model as this project writes it: {_line(error)}") from error


def load_checkpoint(path: str | Path, map_location: Device = "cpu") -> dict[str, Any]:
    """The dictionary in a checkpoint file: init_params, accuracy, model_state_dict, optimizer_state_dict, epoch, ...

    What else it holds stands in harness/export/model_card.py. `torch.load(path, weights_only=True)` gives the same.
    """
    file, device = Path(path), _device(map_location)
    data = read_checked(file)
    if (form := _read_facts(file, data)["form"]) != "checkpoint":
        raise ModelError(f"{path} holds a {form}; to go on training, export --format checkpoint")
    try:
        content = _content(data, device)
        if missing := [name for name in STATE_DICTS if not isinstance(content.get(name), dict)]:
            raise ValueError(f"it has no {missing[0]}")
        return content
    except Exception as error:
        raise ModelError(f"{path} is not a checkpoint as this project writes it: {_line(error)}") from error


def _read_facts(path: Path, data: bytes) -> dict[str, Any]:
    """The model card in the file, checked as far as this package relies on it."""
    try:
        text = entries(data)[FACTS_MEMBER] if data.startswith(ZIP) else _metadata(data)
        if len(text) > MAX_FACTS:
            raise ValueError("its description is too long")
        facts = parse_object(text)
    except Exception as error:
        raise ModelError(f"{path} {FOREIGN}: {_line(error)}") from error
    try:
        check(facts)
    except ModelError as error:
        raise ModelError(f"{path} {error}") from error
    if facts.get("form") == "torch-export":
        raise ModelError(f"{path} is for torch.export.load, which trusts its author; load_model reads the other forms")
    # A file that says it is in the other format would pass by what was checked of it.
    if facts.get("form") not in LOADABLE or (facts["form"] == "safetensors") == data.startswith(ZIP):
        raise ModelError(f"{path} is not a model as this project writes it: its form is {facts.get('form')!r:.50}")
    return facts


def _metadata(data: bytes) -> bytes:
    """The model card in a safetensors file, as JSON."""
    (length,) = struct.unpack("<Q", data[:8])
    card = parse_object(data[8 : 8 + length])["__metadata__"][METADATA]
    return str(card).encode("ascii")


def _state(data: bytes, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The model's state_dict, on the CPU: tensors by name, and extra state."""
    if facts["form"] == "safetensors":
        try:
            from safetensors.torch import load
        except ImportError as error:
            raise missing_package("safetensors", error) from error
        extra = {name: decode(value) for name, value in dict(facts.get(EXTRA_STATE, {})).items()}
        state: Any = {**load(data), **extra}
    else:
        content = _content(data, torch.device("cpu"))
        state = content["model_state_dict"] if facts["form"] == "checkpoint" else content
    if not (isinstance(state, dict) and all(isinstance(name, str) for name in state)):
        raise ValueError("it holds no dictionary of tensors")
    return state


def _content(data: bytes, device: torch.device) -> dict[str, Any]:
    """The dictionary that torch saved, no tensor in it larger than the file."""
    content = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}")
    _check(content, device, len(data))
    return content


def _check(content: dict[str, Any], device: torch.device, size: int) -> None:
    """ValueError where the content is more than a file of this size can hold: no training wrote that."""
    pending: list[Any] = [content]
    for _ in range(size):
        if not pending:
            return
        value = pending.pop()
        if isinstance(value, dict):
            pending += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            pending += value
        elif isinstance(value, Tensor):
            # A view of one number can claim any size, and takes it when it is copied.
            is_whole = value.layout == torch.strided and value.device.type == device.type and value.is_contiguous()
            if not is_whole or value.numel() * value.element_size() > size:
                raise ValueError("one of its tensors is not what lies in the file")
        elif not (value is None or isinstance(value, bool | int | float | str | bytes)):
            raise ValueError(f"it holds a {type(value).__name__}")
    raise ValueError("its parts hold each other")


def _device(name: Device) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"map_location must be a device such as cpu or cuda:0, got {name!r}") from error
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise MachineError(
            f"device {str(name)!r} is not on this machine; map_location='cpu' works everywhere"
        ) from error
    return device


def _line(error: Exception) -> str:
    if type(error).__name__ == "UnpicklingError":  # torch's message proposes to load it all the same
        return "it holds more than tensors, numbers and texts, and nothing else is let in"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
