"""Attention, and the block of a transformer around it.

All code between the layers counts dimensions from the end, "... L C". So it does not see whether there are dimensions
in front of these, and the models of a cohort can be one of them.
"""

import torch
from torch import Tensor, nn

from harness.nn.config import ModelConfig

CHANNELS_OF_HEAD = 16
MIN_HEADS = 2
MLP_FACTOR = 4  # times the channels of a block are those between the two linear layers of its perceptron


def heads_of(channels: int) -> int:
    """One head for every 16 channels, and two at least."""
    return max(MIN_HEADS, channels // CHANNELS_OF_HEAD)


class Attention(nn.Module):
    """Vaswani et al. 2017, section 3.2, with several heads, each position looking at all, or at none behind it.

    With `qk_norm` queries and keys go through a layer norm over the channels of a head (Dehghani et al. 2023).
    """

    def __init__(self, channels: int, *, causal: bool, qk_norm: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads_of(channels), causal
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        head = channels // self.heads
        self.q_norm, self.k_norm = (nn.LayerNorm(head) if qk_norm else nn.Identity() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """The sequences "... L C"."""
        # "... L 3C" -> three of "... L heads D"
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        # three of "... heads L D"
        q, k, v = (part.transpose(-3, -2) for part in (self.q_norm(q), self.k_norm(k), v))
        out: Tensor = self.out(self._attend(q, k, v).transpose(-3, -2).flatten(-2))
        return out

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """For each position the values of all, weighted by how well their keys fit its query."""
        if q.shape[:-3].numel() == 1:  # for a single example torch takes other kernels, whose last bits differ
            twice: Tensor = self._attend(*(part.expand(2, *part.shape[1:]) for part in (q, k, v)))
            return twice[:1]
        # Written out: torch's kernels have no second derivative, which some probes take.
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        if self.causal:
            length = scores.shape[-1]
            # Added, not filled in: the same bits, and no pass over the gradients.
            scores = scores + torch.full((length, length), -torch.inf, dtype=scores.dtype, device=q.device).triu(1)
        out: Tensor = scores.softmax(-1) @ v
        return out

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"heads={self.heads}, causal={self.causal}"


class TransformerBlock(nn.Module):
    """Attention and a perceptron, each a residual branch, with the norm before each branch or after the sum.

    The latter is the transformer of Vaswani et al. 2017; both are compared in Xiong et al. 2020, figure 1.
    """

    def __init__(self, channels: int, config: ModelConfig) -> None:
        super().__init__()
        self.norm_position = config.norm_position
        self.attention_norm, self.mlp_norm = (config.norm(channels, channels_last=True) for _ in range(2))
        self.attention = nn.Sequential(
            Attention(channels, causal=config.causal, qk_norm=config.qk_norm), config.residual_scale(spatial_dims=1)
        )
        wide = MLP_FACTOR * channels
        self.mlp = nn.Sequential(
            *(nn.Linear(channels, wide), config.activation(), nn.Linear(wide, channels)),
            config.residual_scale(spatial_dims=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The sequences "... L C"."""
        for norm, branch in ((self.attention_norm, self.attention), (self.mlp_norm, self.mlp)):
            x = x + branch(norm(x)) if self.norm_position == "pre" else norm(x + branch(x))
        return x

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"norm_position={self.norm_position!r}"
