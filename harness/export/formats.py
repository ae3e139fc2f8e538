"""The forms in which a trained model leaves the harness, each a file that others can read as well.

To add a form: one entry in FORMS, a function from a trained model (and its plain module) to the bytes of a file. Every
file holds the model's description as JSON, and a checksum over all of itself.
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

from harness.errors import MachineError
from harness.export.embedded_checksum import NO_CHECKSUM, embed_checksum, zip_with_checksum
from harness.export.model_card import Functions, build_trained, optimizer_state, state_of
from harness.export.pickles import pickled
from harness.training.checkpoint import Snapshot

FACTS = "harness.json"  # in a zip file, under extra/
METADATA = "harness"  # in the metadata of the other formats


def export(model: Snapshot, form: str, factories: Functions) -> bytes:
    """The file that holds the model in this form, with the model of the suite's own among `own` where it has one."""
    return FORMATS[form](model, factories)


def facts_of(model: Snapshot, form: str, **more: str) -> bytes:
    """The description of a model as JSON, with the form that it stands in."""
    return json.dumps({**model.metadata, "form": form, **more}, allow_nan=False).encode()


def _checkpoint(model: Snapshot) -> bytes:
    content = {
        **model.metadata,
        "model_state_dict": _own_memory(state_of(model)),
        "optimizer_state_dict": optimizer_state(model),
    }
    return zip_with_checksum(_saved(content), {FACTS: facts_of(model, "checkpoint")})


def _state_dict(model: Snapshot) -> bytes:
    return zip_with_checksum(_saved(_own_memory(state_of(model))), {FACTS: facts_of(model, "state_dict")})


def _module(model: Snapshot, factories: Functions) -> bytes:
    return zip_with_checksum(pickled(_built(model, factories)), {FACTS: facts_of(model, "module")})


def _safetensors(model: Snapshot) -> bytes:
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise missing("safetensors", error) from error
    # One entry, for the library writes several in any order.
    metadata = {METADATA: facts_of(model, "safetensors", seal=NO_CHECKSUM.decode()).decode()}
    return embed_checksum(save(_own_memory(state_of(model)), metadata))


def _torch_export(model: Snapshot, factories: Functions) -> bytes:
    file = io.BytesIO()
    program = torch.export.export(_built(model, factories), _example(model), dynamic_shapes=_any_batch())
    torch.export.save(program, file)
    return zip_with_checksum(file.getvalue(), {FACTS: facts_of(model, "torch-export")})


def _onnx(model: Snapshot, factories: Functions) -> bytes:
    try:
        import onnx
        import onnxscript  # noqa: F401 (torch needs it)
    except ImportError as error:
        raise missing("ONNX", error) from error
    module = _built(model, factories)
    with _quiet():
        program = torch.onnx.export(
            module, _example(model), dynamo=True, verbose=False, dynamic_shapes=_any_batch(),
            input_names=["x"], output_names=["scores"],
        )  # fmt: skip
    assert program is not None
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {METADATA: facts_of(model, "onnx", seal=NO_CHECKSUM.decode()).decode()})
    data: bytes = proto.SerializeToString(deterministic=True)
    return embed_checksum(data)


FORMATS: dict[str, Callable[[Snapshot, Functions], bytes]] = {
    "checkpoint": lambda model, own: _checkpoint(model),
    "state_dict": lambda model, own: _state_dict(model),
    "module": _module,
    "safetensors": lambda model, own: _safetensors(model),
    "onnx": _onnx,
    "torch-export": _torch_export,
}


def missing(what: str, error: ImportError) -> MachineError:
    """What to say where an optional package is not installed."""
    return MachineError(f"{what} needs the package {error.name!r}; install it with: pip install 'harness[export]'")


def _saved(content: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    torch.save(dict(content), file)
    return file.getvalue()


def _own_memory(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that share no memory: a view would take the tensor that it is cut out of along."""
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def _built(model: Snapshot, factories: Functions) -> nn.Module:
    return build_trained(model.metadata, _own_memory(state_of(model)), factories)


def _example(model: Snapshot) -> tuple[Tensor]:
    dtype = next(tensor.dtype for tensor in state_of(model).values() if tensor.is_floating_point())
    return (torch.zeros(2, *model.metadata["init_params"]["inputs"], dtype=dtype),)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's words about itself: deprecated calls of its own, operators of packages that nobody uses here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _any_batch() -> Any:
    """Shapes in which the number of examples may vary."""
    return ({0: torch.export.Dim.DYNAMIC},)
