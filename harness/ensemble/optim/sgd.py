"""Stochastic gradient descent, with momentum."""

import torch
from torch import Tensor

from harness.ensemble.optim.optimizer import Optimizer, OptimizerState, Settings


def _sgd(weight: Tensor, grad: Tensor, state: OptimizerState, settings: Settings) -> None:
    """Sutskever et al. 2013 in torch's form: the momentum buffer gathers gradients, lr multiplies it."""
    if settings.any_decay:
        grad = grad + settings.weight_decay * weight
    if state:
        velocity = state["velocity"].mul_(settings.momentum).add_(grad)
        grad = grad + settings.momentum * velocity if settings.nesterov else velocity
    weight.addcmul_(settings.lr, grad, value=-1)


SGD = Optimizer(
    update=_sgd,
    state_names=lambda trials: ("velocity",) if any(trial.momentum for trial in trials) else (),
    has_momentum=True,
    has_nesterov=True,
    torch_class=torch.optim.SGD,
    torch_state={"velocity": "momentum_buffer"},
    compiled_rule=0,
)
