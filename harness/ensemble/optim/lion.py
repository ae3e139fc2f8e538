"""Lion, of which torch has no class: Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from harness.ensemble.optim.optimizer import Optimizer, OptimizerState, Parameters, Settings
from harness.spec.optimizer_args import Args


def _lion(weight: Tensor, grad: Tensor, state: OptimizerState, settings: Settings) -> None:
    """The sign of a mean of gradients that leans on the newest more than the mean that is remembered."""
    numbers = settings.numbers
    direction = state["mean"].lerp(grad, numbers["rest1"]).sign_()
    state["mean"].lerp_(grad, numbers["rest2"])
    weight.mul_(1 - settings.lr * settings.weight_decay).addcmul_(settings.lr, direction, value=-1)


def _lion_numbers(args: Args) -> Mapping[str, float]:
    beta1, beta2 = args["betas"]
    return {"rest1": 1 - beta1, "rest2": 1 - beta2}


class Lion(torch.optim.Optimizer):
    """The same as a class of torch's form, for plain loops; it remembers what the authors' own does, `exp_avg`."""

    def __init__(
        self, params: Parameters, lr: float, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"betas must lie in 0..1, without 1, got {betas}")
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for weight in (weight for weight in group["params"] if weight.grad is not None):
                state = self.state[weight]
                mean = state.setdefault("exp_avg", torch.zeros_like(weight))
                direction = mean.lerp(weight.grad, 1 - beta1).sign_()
                weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(direction, alpha=group["lr"])
                mean.lerp_(weight.grad, 1 - beta2)
        return loss


LION = Optimizer(
    update=_lion,
    args={"betas": (0.9, 0.99)},
    numbers=_lion_numbers,
    state_names=lambda trials: ("mean",),
    torch_class=Lion,
    torch_state={"mean": "exp_avg"},
)
