"""The precisions that a trial may ask for. To add one: one entry in PRECISIONS."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Precision:
    """The dtypes of training and evaluation; loss and update are in that of the weights."""

    dtype: torch.dtype | None = None  # of weights and examples; None: float32, as they are made
    autocast: torch.dtype | None = None  # in forward and backward passes, for the operations that torch.autocast lowers


PRECISIONS: dict[str, Precision] = {
    "float32": Precision(),
    "bfloat16": Precision(autocast=torch.bfloat16),
    "float64": Precision(dtype=torch.float64),  # from the same initial weights: they are drawn in float32
}
