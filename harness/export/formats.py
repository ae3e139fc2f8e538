"""The formats that a trained model is exported in, each a file that other programs can read as well.

To add a format: one entry in FORMATS, a function from a trained model to the bytes of a file. Every file holds the
model card as JSON, and a checksum of itself.
"""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from harness.errors import MachineError
from harness.export.embedded_checksum import NO_CHECKSUM, embed_checksum, zip_with_checksum
from harness.export.model_card import build_trained, card_of, state_of
from harness.export.optimizer_state import optimizer_state
from harness.export.pickles import pickled
from harness.export.plain_values import encode
from harness.nn.module_state import example_zeros
from harness.spec.suite import Functions
from harness.training.checkpoint import Snapshot

FACTS_MEMBER = "harness.json"  # in a zip file, under extra/
METADATA = "harness"  # in the metadata of the other formats
FOREIGN = (torch.complex128,)  # types that safetensors lacks
EXTRA_STATE = "extra_state"  # in the card of a format that holds tensors alone


def export_as(model: Snapshot, form: str, factories: Functions) -> bytes:
    """The file that holds the model in this format; `factories` has the function of a model of the suite's own."""
    return FORMATS[form](model, factories)


def facts_of(model: Snapshot, form: str, **more: Any) -> bytes:
    """The model card as JSON, with the format of its file."""
    return json.dumps({**card_of(model), "form": form, **more}, allow_nan=False).encode()


def _checkpoint(model: Snapshot, factories: Functions) -> bytes:
    content = {
        **card_of(model),
        "model_state_dict": _cloned(state_of(model)),
        "optimizer_state_dict": optimizer_state(model, factories),
    }
    return zip_with_checksum(_torch_save(content), {FACTS_MEMBER: facts_of(model, "checkpoint")})


def _state_dict(model: Snapshot) -> bytes:
    return zip_with_checksum(_torch_save(_cloned(state_of(model))), {FACTS_MEMBER: facts_of(model, "state_dict")})


def _module(model: Snapshot, factories: Functions) -> bytes:
    return zip_with_checksum(pickled(_build(model, factories)), {FACTS_MEMBER: facts_of(model, "module")})


def _safetensors(model: Snapshot) -> bytes:
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise missing_package("safetensors", error) from error
    state = _cloned(state_of(model))
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor) and value.dtype not in FOREIGN}
    extra = {name: encode(value) for name, value in state.items() if name not in tensors}
    # One entry, for the library writes several in any order.
    facts = facts_of(model, "safetensors", seal=NO_CHECKSUM.decode(), **({EXTRA_STATE: extra} if extra else {}))
    return embed_checksum(save(tensors, {METADATA: facts.decode()}))


def _torch_export(model: Snapshot, factories: Functions) -> bytes:
    file = io.BytesIO()
    module = _build(model, factories)
    program = torch.export.export(module, _example_input(model, module), dynamic_shapes=_dynamic_batch())
    torch.export.save(program, file)
    return zip_with_checksum(file.getvalue(), {FACTS_MEMBER: facts_of(model, "torch-export")})


def _onnx(model: Snapshot, factories: Functions) -> bytes:
    try:
        import onnx
        import onnxscript  # noqa: F401 (torch needs it)
    except ImportError as error:
        raise missing_package("ONNX", error) from error
    module = _build(model, factories)
    with _without_warnings():
        program = torch.onnx.export(
            module,
            _example_input(model, module),
            dynamo=True,
            verbose=False,
            dynamic_shapes=_dynamic_batch(),
            input_names=["x"],
            output_names=["scores"],
        )
    assert program is not None
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {METADATA: facts_of(model, "onnx", seal=NO_CHECKSUM.decode()).decode()})
    data: bytes = proto.SerializeToString(deterministic=True)
    return embed_checksum(data)


FORMATS: dict[str, Callable[[Snapshot, Functions], bytes]] = {
    "checkpoint": _checkpoint,
    "state_dict": lambda model, factories: _state_dict(model),
    "module": _module,
    "safetensors": lambda model, factories: _safetensors(model),
    "onnx": _onnx,
    "torch-export": _torch_export,
}


def missing_package(name: str, error: ImportError) -> MachineError:
    """The error where an optional package is not installed."""
    return MachineError(f"{name} needs the package {error.name!r}; install it with: pip install 'harness[export]'")


def _torch_save(content: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    torch.save(dict(content), file)
    return file.getvalue()


def _cloned(state: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors with storages of their own: torch saves the whole storage of a view."""
    return {
        name: value.detach().clone(memory_format=torch.contiguous_format) if isinstance(value, Tensor) else value
        for name, value in state.items()
    }


def _build(model: Snapshot, factories: Functions) -> nn.Module:
    """The module, with plain weights in the place of parametrised ones.

    Torch pickles no parametrised module, for its class has no name, and ONNX lacks the operators of some.
    """
    module = build_trained(model.metadata, _cloned(state_of(model)), factories)
    for layer in [layer for layer in module.modules() if is_parametrized(layer)]:
        for name in list(layer.parametrizations):  # type: ignore[arg-type]
            remove_parametrizations(layer, name)
            weight = getattr(layer, name)
            weight.data = weight.data.clone(memory_format=torch.contiguous_format)  # torch may leave it a view
        for key, hook in list(layer._load_state_dict_pre_hooks.items()):
            if getattr(hook, "__module__", "") == parametrizations.__name__:  # of weight_norm, and can't be pickled
                del layer._load_state_dict_pre_hooks[key]
    return module


def _example_input(model: Snapshot, module: nn.Module) -> tuple[Tensor]:
    return (example_zeros(module, 2, tuple(model.metadata["init_params"]["inputs"])),)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence torch's warnings of its own deprecated calls, and of operators of packages that nobody uses here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _dynamic_batch() -> Any:
    """Dynamic shapes: the number of examples may vary."""
    return ({0: torch.export.Dim.DYNAMIC},)
