"""Parameters that no optimizer of torch would touch: frozen ones, and ones that the output doesn't depend on."""

from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import nn

from harness.nn.module_state import example_zeros
from harness.nn.surgery import convert_from_sync_bn
from harness.rng import preserved_generators

EXAMPLES = 2


def frozen_parameters(model: nn.Module) -> frozenset[str]:
    """The names of the parameters with requires_grad=False."""
    return frozenset(name for name, weight in model.named_parameters() if not weight.requires_grad)


def freeze_unused(models: Iterable[nn.Module], input_shape: tuple[int, ...]) -> None:
    """Freeze the parameters of these models, equal in all but values, that the output in training doesn't depend on.

    A plain loop leaves them where they are, for their gradient is None: with weight decay, a gradient of zeros is not
    the same.
    """
    models = list(models)
    unused = _unused_parameters(models[0], input_shape)
    for model in models if unused else ():
        for name, weight in model.named_parameters():
            weight.requires_grad_(weight.requires_grad and name not in unused)


def _unused_parameters(model: nn.Module, input_shape: tuple[int, ...]) -> set[str]:
    """Found by sending a few examples through a copy, on one process; nothing where that doesn't go."""
    copy = convert_from_sync_bn(deepcopy(model), input_shape).train()
    trained = {name: weight for name, weight in copy.named_parameters() if weight.requires_grad}
    if not trained:
        return set()
    with preserved_generators(), torch.enable_grad():
        try:
            out = copy(example_zeros(copy, EXAMPLES, input_shape))
            grads = torch.autograd.grad(out.sum(), list(trained.values()), allow_unused=True)
        except Exception:  # noqa: BLE001 (a norm of groups of examples needs more of them; training says what is wrong)
            return set()
    return {name for name, grad in zip(trained, grads, strict=True) if grad is None}
