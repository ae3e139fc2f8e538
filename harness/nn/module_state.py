"""What a module is made of: the one place that takes models apart, for all that stack, save, move or load them.

A tensor is what it is by identity. One that a module holds in two places (tied weights, a layer that is used twice) is
one tensor, under the first of its names; so an optimizer updates it once, as torch's does. Buffers count whether they
are persistent or not: a `state_dict` leaves some out, and the model would not be the same without them.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from harness.errors import SuiteError

VOCABULARY = "harness_vocabulary"  # the attribute of a model that takes tokens: how many there are


def parameters_of(model: nn.Module) -> dict[str, nn.Parameter]:
    """Each parameter once, under its first name."""
    return dict(model.named_parameters())


def buffers_of(model: nn.Module) -> dict[str, Tensor]:
    """Each buffer once, under its first name, persistent or not; a parameter that is registered as one is none."""
    parameters = {id(parameter) for parameter in model.parameters()}
    return {name: buffer for name, buffer in model.named_buffers() if id(buffer) not in parameters}


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Each parameter and buffer once, under its first name."""
    return {**parameters_of(model), **buffers_of(model)}


def first_names(model: nn.Module) -> dict[str, str]:
    """Every name of a parameter or buffer -> the first name of the same tensor."""
    first = {id(tensor): name for name, tensor in tensors_of(model).items()}
    every = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    return {name: first[id(tensor)] for name, tensor in every}


def slots_of(model: nn.Module) -> dict[str, str]:
    """Where tensors are held, each place once -> the first name of what is held there."""
    names = first_names(model)
    return {
        slot: names[slot]
        for prefix, module in model.named_modules()
        for held in (module._parameters, module._buffers)
        for slot in (f"{prefix}.{key}".lstrip(".") for key, tensor in held.items() if tensor is not None)
    }


def call_with(model: nn.Module, slots: Mapping[str, str], tensors: dict[str, Tensor], *args: Tensor) -> Tensor:
    """What the model gives with these tensors, by their first names, in the place of its own: see `slots_of`.

    By itself torch.func.functional_call leaves a module that has two names with tensors that are not its own. As it
    does, this writes into `tensors` what the model has assigned to its buffers.
    """
    placed = {slot: tensors[name] for slot, name in slots.items() if name in tensors}
    out: Tensor = functional_call(model, placed, args, tie_weights=False)
    for slot, tensor in placed.items():
        if tensor is not tensors[slots[slot]]:
            tensors[slots[slot]] = tensor
    return out


def replace_buffers(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Let the model have these buffers, given by their first names, in every place of each."""
    names = first_names(model)
    for name in [name for name, _ in model.named_buffers(remove_duplicate=False)]:
        if names[name] in tensors:
            set_buffer(model, name, tensors[names[name]])


def set_buffer(model: nn.Module, name: str, buffer: Tensor) -> None:
    """Let the model have this buffer, in this place alone."""
    parent, _, child = name.rpartition(".")
    model.get_submodule(parent)._buffers[child] = buffer


@torch.no_grad()
def stack_tensors(models: Sequence[nn.Module]) -> dict[str, Tensor]:
    """The tensors of M models as "M ...", by name; SuiteError where the models differ in more than values."""
    each = [tensors_of(model) for model in models]
    for tensors in each[1:]:
        if different := _first_difference(each[0], tensors):
            raise SuiteError(f"a model must be the same for every seed but for values, and its {different} is not")
    return {name: torch.stack([tensors[name].detach() for tensors in each]) for name in each[0]}


def _first_difference(some: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> str:
    """The name of the first tensor that only one of two models has, or that is of another kind in the other."""
    for name in {**some, **others}:
        if name not in some or name not in others or _kind(some[name]) != _kind(others[name]):
            return name
    return ""


def _kind(tensor: Tensor) -> tuple[object, ...]:
    return tensor.shape, tensor.dtype, isinstance(tensor, nn.Parameter) and tensor.requires_grad


def to_precision(model: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """The model with all that it computes with in float64, in place, tensors that it shares still shared.

    With None it stays as it was made, whatever types its tensors have.
    """
    for tensor in tensors_of(model).values() if dtype is torch.float64 else ():
        if tensor.is_floating_point():
            tensor.data = tensor.data.double()
        elif tensor.is_complex():
            tensor.data = tensor.data.to(torch.complex128)
    return model


def input_dtype(model: nn.Module) -> torch.dtype:
    """The type that the model computes in: single precision, or double where most of its numbers are."""
    numbers = {torch.float32: 0, torch.float64: 0}
    for parameter in model.parameters():
        if parameter.dtype in numbers:
            numbers[parameter.dtype] += parameter.numel()
    return torch.float64 if numbers[torch.float64] > numbers[torch.float32] else torch.float32


def vocabulary_of(model: nn.Module) -> int | None:
    """How many tokens there are, of a model that was built for examples of tokens; None of any other."""
    vocabulary: int | None = getattr(model, VOCABULARY, None)
    return vocabulary


def example_dtype(model: nn.Module) -> torch.dtype:
    """The type of the examples that the model is given: whole numbers where these are tokens."""
    return input_dtype(model) if vocabulary_of(model) is None else torch.int64


def example_zeros(model: nn.Module, examples: int, input_shape: tuple[int, ...]) -> Tensor:
    """So many examples of zeros, where the model is and in the type that it takes."""
    parameter = next(model.parameters())
    return torch.zeros(examples, *input_shape, dtype=example_dtype(model), device=parameter.device)
