"""In which numbers a trial computes. To add a precision: one entry in PRECISIONS."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Precision:
    """The types of numbers in training and evaluation; the loss and the update are those of the weights."""

    dtype: torch.dtype | None = None  # of weights and examples; None: float32, as they are made
    autocast: torch.dtype | None = None  # of what torch.autocast holds to be safe in it, in forward and backward passes


PRECISIONS: dict[str, Precision] = {
    "float32": Precision(),
    "bfloat16": Precision(autocast=torch.bfloat16),
    "float64": Precision(dtype=torch.float64),  # from the same initial weights: they are drawn in float32
}
