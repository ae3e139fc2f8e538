"""Over which dimension a norm goes: said where it is built, and held against what it is given.

A norm of torch goes over dimension 1 of whatever it gets. In sequences "N L C" that are the positions, and where there
are as many positions as channels nothing would tell.
"""

from contextlib import suppress
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import SuiteError

CHANNELS_FIRST = ("(examples, channels)", "(examples, channels, positions)", "(examples, channels, height, width)")
CHANNELS_LAST = ("(examples, channels)", "(examples, positions, channels)", "(examples, height, width, channels)")
MAX_SPATIAL_DIMS = 2
DECLARED = "norm_input"  # the attribute of a layer: its channels, spatial dimensions, and whether channels come last


class ChannelsLast(nn.Module):
    """A norm of channels first, over "N ... C".

    A norm over each example goes over each position by itself, as it does in transformers; one over the batch takes the
    statistics of a channel from all examples and positions.
    """

    def __init__(self, norm: nn.Module, *, per_position: bool) -> None:
        super().__init__()
        self.norm, self.per_position = norm, per_position

    def forward(self, x: Tensor) -> Tensor:
        """The normalised examples, shaped as they came."""
        if self.per_position:
            out: Tensor = self.norm(x.flatten(0, -2)).view(x.shape)
            return out
        moved: Tensor = self.norm(x.movedim(-1, 1).contiguous()).movedim(1, -1)
        return moved

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"per_position={self.per_position}"


def declare(layer: nn.Module, channels: int, spatial_dims: int, channels_last: bool) -> nn.Module:
    """The layer, with a note of the inputs that it was built for."""
    setattr(layer, DECLARED, (channels, spatial_dims, channels_last))
    return layer


def check_norm_inputs(model: nn.Module, name: str, examples: Tensor) -> None:
    """Raise SuiteError where a layer that `norm` built gets an input of another shape than it was built for.

    One forward of a copy; whatever else goes wrong in it is for others to say.
    """
    if not any(hasattr(layer, DECLARED) for layer in model.modules()):
        return
    wrong: list[str] = []
    with suppress(Exception), torch.no_grad():
        model = deepcopy(model)
        for layer_name, layer in model.named_modules():
            if hasattr(layer, DECLARED):
                layer.register_forward_pre_hook(
                    partial(_note_wrong_input, wrong, layer_name, *getattr(layer, DECLARED))
                )
        model(examples)
    if wrong:
        raise SuiteError(f"model {name!r}: {wrong[0]}")


def _note_wrong_input(
    wrong: list[str], name: str, channels: int, spatial_dims: int, channels_last: bool, _: nn.Module, args: tuple[Any]
) -> None:
    shape = tuple(args[0].shape)
    if len(shape) == spatial_dims + 2 and shape[-1 if channels_last else 1] == channels:
        return
    options = f", spatial_dims={spatial_dims}" if spatial_dims != int(channels_last) else ""
    built = f"norm({channels}{options}{', channels_last=True' if channels_last else ''})"
    meant = (CHANNELS_LAST if channels_last else CHANNELS_FIRST)[spatial_dims]
    wrong.append(f"layer {name!r} is {built}, for {meant}, and gets {shape}: {_remedy(shape, channels)}")


def _remedy(shape: tuple[int, ...], channels: int) -> str:
    spatial_dims = len(shape) - 2
    if not 0 <= spatial_dims <= MAX_SPATIAL_DIMS:
        return "reshape it"
    first, last = f"norm({shape[1]}", f"norm({shape[-1]}"
    if not spatial_dims:
        return f"write {first})"
    kinds = [
        f"{first}, spatial_dims={spatial_dims}) where channels come first, {CHANNELS_FIRST[spatial_dims]}",
        f"{last}{f', spatial_dims={spatial_dims}' if spatial_dims > 1 else ''}, channels_last=True) where they come "
        f"last, {CHANNELS_LAST[spatial_dims]}",
    ]
    fitting = [kind for kind, size in zip(kinds, (shape[1], shape[-1]), strict=True) if size == channels]
    return f"write {' or '.join(fitting or kinds)}"
