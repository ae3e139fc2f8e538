"""What `vit-32x4`, `transformer-32x4` and `lstm-32` are."""

from collections.abc import Sequence

from torch import Tensor, nn

from harness.errors import SuiteError
from harness.nn.config import ModelConfig
from harness.nn.feedforward import images
from harness.nn.sequences.attention import TransformerBlock, heads_of
from harness.nn.sequences.layers import LSTMLayer, Patches, Positions, TokenEmbedding

SMALL_IMAGE = 16  # the shorter side of images that are cut into patches of 2 x 2; larger ones into 4 x 4
SMALL_PATCH, LARGE_PATCH = 2, 4


class Mean(nn.Module):
    """The mean over positions."""

    def forward(self, x: Tensor) -> Tensor:
        """The sequences "... L C"."""
        return x.mean(-2)


class Last(nn.Module):
    """What stands at the last position."""

    def forward(self, x: Tensor) -> Tensor:
        """The sequences "... L C"."""
        return x[..., -1, :]


def vit(widths: Sequence[int], config: ModelConfig) -> nn.Module:
    """Dosovitskiy et al. 2021 in small, with learnt positions, and the mean over patches in the place of a token."""
    channels, height, width = images("vit", config)
    wanted = SMALL_PATCH if min(height, width) < SMALL_IMAGE else LARGE_PATCH
    size = max(size for size in range(1, wanted + 1) if not (height % size or width % size))
    first = [Patches(size), nn.Linear(channels * size * size, widths[0])]
    return _transformer(first, height * width // size**2, widths, config, "vit")


def transformer(widths: Sequence[int], config: ModelConfig) -> nn.Module:
    """Blocks of one width behind an embedding of tokens, or behind a linear layer where each position has numbers."""
    first, length = _first(widths[0], config, "transformer")
    return _transformer([first], length, widths, config, "transformer")


def _transformer(
    first: Sequence[nn.Module], length: int, widths: Sequence[int], config: ModelConfig, family: str
) -> nn.Module:
    channels = widths[0]
    if len(set(widths)) > 1:
        raise SuiteError(f"all blocks of a {family} have one width, such as {family}-32x4, got {list(widths)}")
    if channels % (heads := heads_of(channels)):
        raise SuiteError(f"the width of a {family} must be a multiple of its {heads} heads, got {channels}")
    blocks = [TransformerBlock(channels, config) for _ in widths]
    # Where norms stand before the branches, none has seen the sum of them all (Xiong et al. 2020).
    last = [config.norm(channels, channels_last=True)] if config.norm_position == "pre" else []
    pool = [] if config.per_position else [Mean()]
    return nn.Sequential(*first, Positions(length, channels), *blocks, *last, *pool, _head(channels, config))


def lstm(widths: Sequence[int], config: ModelConfig) -> nn.Module:
    """LSTM layers, each followed by the norm; the last position's output is classified, or that of every position."""
    first, _ = _first(widths[0], config, "lstm")
    layers, features = [first], widths[0]
    for width in widths:
        layers += [LSTMLayer(features, width), config.norm(width, channels_last=True)]
        features = width
    pool = [] if config.per_position else [Last()]
    return nn.Sequential(*layers, *pool, _head(features, config))


def _head(channels: int, config: ModelConfig) -> nn.Module:
    return nn.Linear(channels, config.outputs)


def _first(channels: int, config: ModelConfig, family: str) -> tuple[nn.Module, int]:
    """What leads from an example to the first layer's channels at each position, and how many positions there are."""
    if config.vocabulary is not None and len(config.inputs) == 1:
        return TokenEmbedding(config.vocabulary, channels), config.inputs[0]
    if len(config.inputs) == 2 and config.vocabulary is None:
        length, numbers = config.inputs
        return nn.Linear(numbers, channels), length
    raise SuiteError(
        f"a {family} needs tokens (a dataset with a vocabulary) or numbers at positions (positions, numbers), "
        f"got examples of shape {config.inputs}"
    )
