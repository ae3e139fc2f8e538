"""Optimizers that divide by the root of the squares of gradients, without Adam's correction of the bias."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from harness.ensemble.optim.adam import step_count
from harness.ensemble.optim.optimizer import Optimizer, OptimizerState, Settings
from harness.spec.optimizer_args import Args
from harness.spec.trial import Trial


def _rmsprop(weight: Tensor, grad: Tensor, state: OptimizerState, settings: Settings) -> None:
    """Tieleman & Hinton 2012, centred as in Graves 2013, in torch's form."""
    numbers = settings.numbers
    if settings.any_decay:
        grad = grad + settings.weight_decay * weight
    square = state["square"].mul_(numbers["alpha"]).addcmul_(numbers["rest"] * grad, grad)
    if settings.args["centered"]:
        mean = state["mean"].lerp_(grad, numbers["rest"])
        square = square - mean * mean
    step = grad / (square.sqrt() + numbers["eps"])
    if "velocity" in state:
        step = state["velocity"].mul_(settings.momentum).add_(step)
    weight.addcmul_(settings.lr, step, value=-1)


def _rmsprop_numbers(args: Args) -> Mapping[str, float]:
    return {"alpha": args["alpha"], "rest": 1 - args["alpha"], "eps": args["eps"]}


def _rmsprop_state(trials: Sequence[Trial]) -> tuple[str, ...]:
    mean = ("mean",) if RMSPROP.args_of(trials[0])["centered"] else ()
    return ("square", *mean, *(("velocity",) if any(trial.momentum for trial in trials) else ()))


def _adagrad(weight: Tensor, grad: Tensor, state: OptimizerState, settings: Settings) -> None:
    """Duchi et al. 2011, in torch's form."""
    (decay,) = settings.corrections
    if settings.any_decay:
        grad = grad + settings.weight_decay * weight
    total = state["sum"].addcmul_(grad, grad)
    weight.sub_(settings.lr / decay * grad / (total.sqrt() + settings.numbers["eps"]))


RMSPROP: Optimizer = Optimizer(
    update=_rmsprop,
    args={"alpha": 0.99, "eps": 1e-8, "centered": False},
    numbers=_rmsprop_numbers,
    state_names=_rmsprop_state,
    has_momentum=True,
    torch_class=torch.optim.RMSprop,
    torch_state={"square": "square_avg", "mean": "grad_avg", "velocity": "momentum_buffer"},
    torch_counts=step_count,
)

ADAGRAD = Optimizer(
    update=_adagrad,
    args={"lr_decay": 0.0, "initial_accumulator_value": 0.0, "eps": 1e-10},
    state_names=lambda trials: ("sum",),
    initial=lambda args: {"sum": args["initial_accumulator_value"]},
    corrections=lambda step, args: (1 + step * args["lr_decay"],),
    torch_class=torch.optim.Adagrad,
    torch_state={"sum": "sum"},
    torch_counts=step_count,
)
