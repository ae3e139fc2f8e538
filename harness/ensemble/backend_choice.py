"""Which backend trains some models: the first that can run them and computes what the plain modules compute.

Models are written once, as plain modules. A backend is held against them, one after the other, on a few examples in
double precision, before it is trusted.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from harness.ensemble.backends import BACKENDS
from harness.ensemble.backends.base import NotStackableError
from harness.ensemble.ensemble import Ensemble, fuse
from harness.ensemble.module_copy import copy_module
from harness.ensemble.plain_training import check_batches, ensemble_outputs, plain_outputs, without_dropout
from harness.errors import NO_ERRORS, error_line
from harness.nn.module_state import example_dtype, to_precision
from harness.rng import preserved_generators

CHECK_MODELS = 3  # models that are held against themselves
MEMORY_PROBE_EXAMPLES = 16  # examples that tell how much memory a batch takes
LARGE_MODEL_BYTES = 2**22  # bytes that a step of one model keeps
TOLERANCE = 1e-8  # of outputs, gradients, weights and buffers, relative to the largest of each tensor
LOOP_TOLERANCE = 1e-4  # the same where models run one by one, in single precision
REFERENCE = "loop"  # the backend that runs every model, as it is
CPU = torch.device("cpu")


def fastest_backend(
    model: nn.Module,
    input_shape: tuple[int, ...],
    batch_size: int,
    device: torch.device,
    models: int,
    examples: Tensor | None = None,
) -> str:
    """The fastest backend that holds for so many models like this one.

    On a CPU it doesn't depend on how many they are, so that no model's bits do. A large model has nothing to gain from
    company, and there trains in turn; on a GPU it does so alone.
    """
    lone = fuse([model], input_shape, CPU, REFERENCE)
    is_large = activation_bytes(lone, input_shape, batch_size) > LARGE_MODEL_BYTES
    in_turn = is_large and (device.type != "cuda" or models == 1)
    return select_backend([model], input_shape, device, examples, in_turn=in_turn)[0]


def select_backend(
    models: Sequence[nn.Module],
    input_shape: tuple[int, ...],
    device: torch.device = CPU,
    examples: Tensor | None = None,
    *,
    in_turn: bool = False,
) -> tuple[str, str]:
    """The fastest backend of a device under which the models are what they are by themselves; where slow, also why.

    With `in_turn`, of those that run one model after the other. `examples` "N ..." are some of those that they are to
    be trained on: a model of tokens takes nothing else.
    """
    reasons: list[str] = []
    for name, backend in BACKENDS.items():
        if backend.device_types is not None and device.type not in backend.device_types:
            continue
        if in_turn and not backend.runs_in_turn:
            continue
        try:
            mismatch = "" if name == REFERENCE else find_mismatch(models, input_shape, name, examples)
            if (
                not mismatch
                and not backend.is_exact
                and device.type == "cpu"
                and changes_own_buffers(models[0], input_shape, examples)
            ):
                mismatch = (
                    "its forward changes buffers of its own, whose last bits would depend on the models beside it"
                )
        except NotStackableError as error:
            mismatch = str(error)
        except NO_ERRORS:
            raise
        except BaseException as error:  # noqa: BLE001 (a model may do anything, and one by one it may do it)
            mismatch = error_line(error)[:200]
        if not mismatch:
            return name, "; ".join(reasons) if backend.note else ""
        if backend.refusal:
            reasons.append(f"{backend.refusal}: {mismatch}")
    raise AssertionError("one after the other, models are what they are by themselves")


def find_mismatch(
    models: Sequence[nn.Module],
    input_shape: tuple[int, ...],
    backend: str,
    examples: Tensor | None = None,
    *,
    draws: bool = False,
) -> str:
    """What of outputs, gradients, weights or buffers is not as the modules have it; "" where all is.

    The modules are really called, and really trained for a few steps. The backend that runs them one by one has their
    own precision, all others the double one, in which a difference can't be rounding.
    """
    is_reference = backend == REFERENCE
    tolerance = LOOP_TOLERANCE if is_reference else TOLERANCE
    rng = torch.Generator().manual_seed(0)
    count = 2 if is_reference else CHECK_MODELS
    copies = [
        without_dropout(to_precision(copy_module(model), None if is_reference else torch.float64))
        for model in (*models, *models, *models)[:count]
    ]
    for weight in (weight for model in copies for weight in model.parameters() if weight.is_floating_point()):
        weight.data.add_(torch.randn(weight.shape, generator=rng, dtype=weight.dtype), alpha=0.1)  # no two are equal
    batches = check_batches(copies[0], input_shape, count, examples)
    with preserved_generators():
        expected = plain_outputs([copy_module(model) for model in copies], batches)
        actual = ensemble_outputs(fuse(copies, input_shape, CPU, backend, draws=draws), batches)
    for name, plain in expected.items():
        ours = actual[name]
        largest = plain.abs().max().item() if plain.numel() else 0.0
        if ours.shape != plain.shape:
            return f"{name} has another shape, {tuple(ours.shape)} instead of {tuple(plain.shape)}"
        if not torch.allclose(ours, plain, rtol=0.0, atol=tolerance * (1 + largest), equal_nan=True):
            return f"{name} is not that of the model alone"
    return ""


def changes_own_buffers(model: nn.Module, input_shape: tuple[int, ...], examples: Tensor | None = None) -> bool:
    """Whether a forward pass in training changes other buffers than those of norms."""
    ((x, _, _), *_) = check_batches(model, input_shape, 1, examples)
    model = without_dropout(copy_module(model)).train()
    norms = {name for name, layer in model.named_modules() if isinstance(layer, _NormBase)}
    own = {name: buffer.clone() for name, buffer in model.named_buffers() if name.rpartition(".")[0] not in norms}
    with torch.no_grad(), preserved_generators():
        model(x[:, 0])
    return any(not torch.equal(model.get_buffer(name), buffer) for name, buffer in own.items())


def activation_bytes(ensemble: Ensemble, input_shape: tuple[int, ...], batch_size: int = MEMORY_PROBE_EXAMPLES) -> int:
    """How many bytes one model keeps for the backward pass of a step on so many examples."""
    examples = min(batch_size, MEMORY_PROBE_EXAMPLES)
    saved: dict[int, Tensor] = {}  # by the address of its memory; kept, so that none is given out again

    def save(tensor: Tensor) -> Tensor:
        # Detached: an output that its own graph keeps is in a circle, which Python's collector does not see.
        return saved.setdefault(tensor.untyped_storage().data_ptr(), tensor.detach())

    weight = next(iter(ensemble.weights.values()))
    x = weight.new_zeros(examples, ensemble.size, *input_shape, dtype=example_dtype(ensemble.template))
    ensemble.module.eval()  # running statistics stay where they are
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        ensemble(x, shared=False)
    ensemble.module.train()
    kept = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    return max(1, kept * batch_size // (examples * ensemble.size))
