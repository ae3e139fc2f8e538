"""Layers of sequences "N L C" that torch lacks, or has in another form."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POSITION_STD = 0.02  # of learnt positions at first, as in Dosovitskiy et al. 2021


class TokenEmbedding(nn.Embedding):
    """A vector for each token "N L"."""

    def forward(self, x: Tensor) -> Tensor:
        """Tokens may come as whole numbers of any type."""
        return F.embedding(x.long(), self.weight)


class Positions(nn.Module):
    """A learnt vector for each position, added to what stands there."""

    def __init__(self, length: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(length, channels) * POSITION_STD)

    def forward(self, x: Tensor) -> Tensor:
        """The sequences "... L C"."""
        return x + self.weight

    def extra_repr(self) -> str:
        """Length and channels."""
        return ", ".join(map(str, self.weight.shape))


class Patches(nn.Module):
    """Images "N C H W" as sequences of squares, row by row: "N L C*size*size"."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """A linear layer behind it is a convolution that strides over the squares."""
        # "... C H W" -> "... C rows columns size size"
        squares = x.unfold(-2, self.size, self.size).unfold(-2, self.size, self.size)
        return squares.movedim(-5, -3).flatten(-3).flatten(-3, -2)

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"size={self.size}"


class LSTMLayer(nn.LSTM):
    """One layer of Hochreiter & Schmidhuber 1997 as torch has it: "N L C" to the outputs at all positions, "N L D"."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """The outputs alone: what a layer behind it gets."""
        out: Tensor = super().forward(x)[0]
        return out
