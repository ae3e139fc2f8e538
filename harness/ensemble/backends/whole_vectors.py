"""Activations whose bits don't depend on where in a tensor a number lies.

A kernel of torch takes numbers by whole vectors and the few that are left over at the end of a tensor one by one. Of
some functions these come out with other last bits, and what lies at the end of a stack are numbers of its last model.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUMBERS = 64  # that a kernel takes at once, at most

# Of tanh and all else that nets are made of, both come out the same.
POSITION_DEPENDENT = (nn.Sigmoid, nn.SiLU, nn.GELU, nn.ELU, nn.SELU, nn.CELU, nn.Softplus, nn.LogSigmoid, nn.Mish)


class WholeVectors(nn.Module):
    """The activation, of a tensor that is filled up to whole vectors."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """The activation of every number, in the memory format of the input."""
        is_channels_last = x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
        # "N C H W" -> "N H W C" and back, which moves nothing
        x = x.permute(0, 2, 3, 1) if is_channels_last else x
        flat, excess = x.flatten(), -x.numel() % NUMBERS
        out: Tensor = self.layer(F.pad(flat, (0, excess)) if excess else flat)[: x.numel()].view(x.shape)
        return out.permute(0, 3, 1, 2) if is_channels_last else out
