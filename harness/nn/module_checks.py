"""What a model may not be: things that torch allows in a module, and that can't be trained here as a plain loop would.

Each is refused before anything is trained, in one line that names the module and says what to do.
"""

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.spectral_norm import SpectralNorm

from harness.nn.module_state import parameters_of, tensors_of

TRAINED_DTYPES = (torch.float32, torch.float64)
KEPT_DTYPES = (  # of buffers and frozen parameters: those that torch can stack, select and copy
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
)


def find_fault(model: nn.Module) -> str:
    """Why the model can't be trained as a plain loop would train it; "" where it can."""
    return next(chain(_wrappers(model), _lazy(model), _computed(model), _tensor_kinds(model), _overlaps(model)), "")


def module_name(model: nn.Module, name: str) -> str:
    """How a message calls the module of that name."""
    return f"module {name!r} ({type(model.get_submodule(name)).__name__})" if name else f"the {type(model).__name__}"


def _wrappers(model: nn.Module) -> Iterator[str]:
    for name, module in model.named_modules():
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            yield f"{module_name(model, name)} spreads it over devices; return the module itself, and set world_size"
        elif type(module).__module__.startswith("torch._dynamo"):  # to import that takes seconds
            yield f"{module_name(model, name)} is compiled; return the module itself, and set compile=True"
        elif isinstance(module, torch.jit.ScriptModule):
            yield f"{module_name(model, name)} is a TorchScript; return a module of Python code"


def _lazy(model: nn.Module) -> Iterator[str]:
    for name, module in model.named_modules():
        if any(is_lazy(tensor) for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False))):
            yield (
                f"{module_name(model, name)} is lazy, its parameters have no shape yet; "
                "give it its sizes, or call the model once on an example before you return it"
            )


def _computed(model: nn.Module) -> Iterator[str]:
    """Tensors that were computed from parameters once, and that hooks compute anew."""
    for name, module in model.named_modules():
        subject = module_name(model, name)
        if any(isinstance(hook, SpectralNorm) for hook in module._forward_pre_hooks.values()):
            yield f"{subject} has torch's old spectral_norm; use torch.nn.utils.parametrizations.spectral_norm"
        for key, value in {**vars(module), **module._buffers}.items():
            if isinstance(value, Tensor) and value.grad_fn is not None:
                yield (
                    f"{subject} keeps in {key!r} what it has computed from parameters (as torch's old weight_norm and "
                    "prune do); compute it in forward, or by torch.nn.utils.parametrize"
                )


def _tensor_kinds(model: nn.Module) -> Iterator[str]:
    trained = {name for name, parameter in parameters_of(model).items() if parameter.requires_grad}
    for name, tensor in tensors_of(model).items():
        kind = "parameter" if isinstance(tensor, nn.Parameter) else "buffer"
        if tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized:
            what = "meta device" if tensor.is_meta else "quantized" if tensor.is_quantized else str(tensor.layout)
            yield f"its {kind} {name!r} is no plain tensor of numbers ({what}); make it a dense one on the CPU"
        elif name in trained and tensor.dtype not in TRAINED_DTYPES:
            yield (
                f"its parameter {name!r} is {tensor.dtype}, and float32 and float64 alone are trained; "
                "make it one of these (of a complex number the two parts), or set requires_grad=False"
            )
        elif tensor.dtype not in KEPT_DTYPES:
            yield f"its {kind} {name!r} is {tensor.dtype}, which torch can't stack; choose another type"


def _overlaps(model: nn.Module) -> Iterator[str]:
    """Tensors that are several, in one memory: what an update of one does to the other is lost in copies of them."""
    spans: dict[int, list[tuple[int, int, str]]] = {}  # of each storage: from byte, to byte, name
    for name, tensor in tensors_of(model).items():
        if not tensor.numel():
            continue
        last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
        start, stop = tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()
        others = spans.setdefault(tensor.untyped_storage().data_ptr(), [])
        for other_start, other_stop, other in others:
            if start < other_stop and other_start < stop:
                yield (
                    f"its tensors {other!r} and {name!r} lie in one memory and are not the same tensor; "
                    "assign one to the other to tie them, or clone() it"
                )
        others.append((start, stop, name))
