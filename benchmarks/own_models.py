"""Small models as a suite may bring them: what no backend knows by name."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

HEADS, PATCH = 4, 2


class Block(nn.Module):
    """Attention and a perceptron, each behind a layer norm and beside a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.in_proj, self.out_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        # "N T 3C" -> three of "N heads T C/heads"
        q, k, v = self.in_proj(self.norms[0](x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norms[1](x))


class ViT(nn.Module):
    """A vision transformer: patches of an image as tokens."""

    def __init__(self, inputs: tuple[int, ...], classes: int, width: int = 32, depth: int = 2) -> None:
        super().__init__()
        channels, height, _ = inputs
        self.patches = nn.Conv2d(channels, width, PATCH, stride=PATCH)
        self.positions = nn.Embedding((height // PATCH) ** 2, width)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions.weight
        return self.head(self.blocks(tokens).mean(1))


class LSTM(nn.Module):
    """An LSTM that reads an image row by row."""

    def __init__(self, inputs: tuple[int, ...], classes: int, width: int = 32) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs[-1], width, batch_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x.flatten(1, 2))[0][:, -1])


OWN_MODELS: dict[str, Callable[..., Any]] = {
    "vit": lambda inputs, classes: ViT(inputs, classes),
    "lstm": lambda inputs, classes: LSTM(inputs, classes),
}
