"""Which backend trains some models: the first that can run them and computes what the plain modules compute.

Models are written once, as plain modules. A backend is held against them, one after the other, on a few examples in
double precision, before it is trusted.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from harness.ensemble.backends import BACKENDS
from harness.ensemble.backends.base import NotStackableError
from harness.ensemble.backends.stacked_module import StackedLayer
from harness.ensemble.ensemble import Ensemble, fuse
from harness.errors import NO_ERRORS, error_line
from harness.nn.module_state import input_dtype, to_precision

CHECK_MODELS, CHECK_EXAMPLES = 3, 5  # models that are held against themselves, and on how many examples
MEMORY_PROBE_EXAMPLES = 16  # examples that tell how much memory a batch takes
LARGE_MODEL_BYTES = 2**22  # bytes that a step of one model keeps
TOLERANCE = 1e-8  # of outputs, gradients and running statistics, relative to the largest of each tensor
REFERENCE = "loop"  # the backend that runs every model, as it is
CPU = torch.device("cpu")


def fastest_backend(
    model: nn.Module, input_shape: tuple[int, ...], batch_size: int, device: torch.device, models: int
) -> str:
    """The fastest backend that holds for so many models like this one.

    On a CPU it doesn't depend on how many they are, so that no model's bits do. A large model has nothing to gain from
    company, and there trains in turn; on a GPU it does so alone.
    """
    lone = fuse([model], input_shape, CPU, REFERENCE)
    is_large = activation_bytes(lone, input_shape, batch_size) > LARGE_MODEL_BYTES
    in_turn = is_large and (device.type != "cuda" or models == 1)
    return select_backend([model], input_shape, device, in_turn=in_turn)[0]


def select_backend(
    models: Sequence[nn.Module], input_shape: tuple[int, ...], device: torch.device = CPU, *, in_turn: bool = False
) -> tuple[str, str]:
    """The fastest backend of a device under which the models are what they are by themselves; where slow, also why.

    With `in_turn`, of those that run one model after the other.
    """
    reasons: list[str] = []
    for name, backend in BACKENDS.items():
        if backend.device_types is not None and device.type not in backend.device_types:
            continue
        if in_turn and not backend.runs_in_turn:
            continue
        try:
            mismatch = "" if name == REFERENCE else find_mismatch(models, input_shape, name)
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


def find_mismatch(models: Sequence[nn.Module], input_shape: tuple[int, ...], backend: str) -> str:
    """What of outputs, gradients or running statistics is not as the modules have it; "" where all is."""
    rng = torch.Generator().manual_seed(0)
    copies = [to_precision(deepcopy(model), torch.float64) for model in (*models, *models, *models)[:CHECK_MODELS]]
    for weight in (weight for model in copies for weight in model.parameters() if weight.is_floating_point()):
        weight.data.add_(torch.randn(weight.shape, generator=rng, dtype=weight.dtype), alpha=0.1)  # no two are equal
    fused, reference = (
        reference_outputs(fuse(copies, input_shape, CPU, name), input_shape) for name in (backend, REFERENCE)
    )
    for name, expected in reference.items():
        actual = fused[name]
        largest = expected.abs().max().item() if expected.numel() else 0.0
        if actual.shape != expected.shape:
            return f"{name} has another shape, {tuple(actual.shape)} instead of {tuple(expected.shape)}"
        if not torch.allclose(actual, expected, rtol=0.0, atol=TOLERANCE * (1 + largest)):
            return f"{name} is not that of the model alone"
    return ""


def reference_outputs(ensemble: Ensemble, input_shape: tuple[int, ...]) -> dict[str, Tensor]:
    """What training and evaluation do to a few examples: each model's own first, then some that all share."""
    for layer in ensemble.module.modules():
        plain = layer.plain if isinstance(layer, StackedLayer) else layer
        if isinstance(plain, _DropoutNd):
            plain.p = 0.0  # two ways to run a model draw in two orders
    rng = torch.Generator().manual_seed(0)
    outputs: dict[str, Tensor] = {}
    for step, shared in enumerate((False, True)):
        shape = (CHECK_EXAMPLES, *input_shape) if shared else (CHECK_EXAMPLES, ensemble.size, *input_shape)
        x = torch.randn(shape, generator=rng, dtype=torch.float64)
        ensemble.count_batches(step)
        out, grads = ensemble.gradients(x, shared=shared, loss_fn=lambda out: (out.clone(), _noise(out, rng)))
        with ensemble.eval_mode():
            eval_out = ensemble(x, shared=shared)
        named = {"the output": out, "the output in evaluation": eval_out}
        named |= {f"the gradient of {name}": grads[name].clone() for name in ensemble.weights}
        named |= {f"the buffer {name}": _doubled(buffer) for name, buffer in ensemble.buffers.items()}
        outputs |= {f"{name} ({step})": value for name, value in named.items()}
    return outputs


def _doubled(buffer: Tensor) -> Tensor:
    return buffer.to(torch.complex128 if buffer.is_complex() else torch.float64, copy=True)


def _noise(out: Tensor, rng: torch.Generator) -> Tensor:
    return torch.randn(out.shape, generator=rng, dtype=out.dtype)


def activation_bytes(ensemble: Ensemble, input_shape: tuple[int, ...], batch_size: int = MEMORY_PROBE_EXAMPLES) -> int:
    """How many bytes one model keeps for the backward pass of a step on so many examples."""
    examples = min(batch_size, MEMORY_PROBE_EXAMPLES)
    saved: dict[int, Tensor] = {}  # by the address of its memory; kept, so that none is given out again

    def save(tensor: Tensor) -> Tensor:
        return saved.setdefault(tensor.untyped_storage().data_ptr(), tensor)

    weight = next(iter(ensemble.weights.values()))
    x = weight.new_zeros(examples, ensemble.size, *input_shape, dtype=input_dtype(ensemble.template))
    ensemble.module.eval()  # running statistics stay where they are
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        ensemble(x, shared=False)
    ensemble.module.train()
    kept = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    return max(1, kept * batch_size // (examples * ensemble.size))
