"""How many dimensions a representation has: whether examples still differ from each other in deep layers."""

import torch
from jaxtyping import Float
from torch import Tensor

from harness.probes.activations import measured_by_layer
from harness.probes.context import ProbeContext, Values
from harness.probes.layers import Nonlinearity


def rank(context: ProbeContext) -> Values:
    """The effective rank of what reaches the nonlinearity of each layer, over the examples of the batch.

    With M the matrix of second moments of its units (channels; each pixel is an example), (tr M)^2 / |M|_F^2: 1 where
    all examples are multiples of one, C where C units are uncorrelated and alike. It bounds the rank from below
    (Daneshmand et al. 2020, "Batch normalization provably avoids rank collapse for randomly initialised deep
    networks"). 1 where all activations are zero.
    """
    return measured_by_layer(context, _effective_rank)


def _effective_rank(x: Float[Tensor, "N C ..."], nonlinearity: Nonlinearity) -> dict[str, Tensor]:  # noqa: ARG001
    rows = x.transpose(0, 1).flatten(1)
    largest = rows.abs().max()
    rows = rows / torch.where(largest > 0, largest, 1)  # squares of squares, which leave the range of a double
    moments = rows @ rows.T
    squares = moments.square().sum()
    return {"activation_rank": torch.where(squares > 0, moments.trace().square() / squares, 1.0)}
