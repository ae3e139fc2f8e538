"""Optimizers of a cohort: torch's update rules, with one value per model for every setting.

To add an optimizer: a function that updates one stacked parameter in place, in the file of its family, and its entry in
OPTIMIZERS.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from harness.ensemble.optim.adam import ADAM, ADAMW, NADAM
from harness.ensemble.optim.adaptive import ADAGRAD, RMSPROP
from harness.ensemble.optim.lion import LION
from harness.ensemble.optim.muon import MUON
from harness.ensemble.optim.optimizer import Optimizer, OptimizerState, Settings
from harness.ensemble.optim.sgd import SGD

OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": SGD,
    "adam": ADAM,
    "adamw": ADAMW,
    "nadam": NADAM,
    "rmsprop": RMSPROP,
    "adagrad": ADAGRAD,
    "lion": LION,
    "muon": MUON,
}


@torch.no_grad()
def update(
    optimizer: Optimizer,
    weights: Mapping[str, Tensor],
    grads: Mapping[str, Tensor],
    state: Mapping[str, OptimizerState],
    settings: Mapping[str, Settings],
    hidden_matrices: frozenset[str],
) -> None:
    """One step of every model, in place; all but the optimizer by the name of the weight."""
    for name, weight in weights.items():
        rule = optimizer.rule_of(name, hidden_matrices)
        rule.update(weight, grads[name], state[name], settings[name])
