"""Optimizers of a cohort: torch's update rules, with one value per model for every setting.

To add an optimizer: a function that updates one stacked parameter in place, in the file of its family, and its entry in
OPTIMIZERS.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from harness.ensemble.optim.adam import ADAMW
from harness.ensemble.optim.optimizer import BiasCorrections, Optimizer, OptimizerState
from harness.ensemble.optim.settings import Settings
from harness.ensemble.optim.sgd import SGD

OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": SGD,
    "adamw": ADAMW,
}


@torch.no_grad()
def update(
    optimizer: Optimizer,
    weights: Mapping[str, Tensor],
    grads: Mapping[str, Tensor],
    state: Mapping[str, OptimizerState],
    settings: Mapping[str, Settings],
    corrections: BiasCorrections,
) -> None:
    """One step of every model, in place; all but `corrections` by the name of the weight."""
    for name, weight in weights.items():
        optimizer.update(weight, grads[name], state[name], settings[name], corrections)
