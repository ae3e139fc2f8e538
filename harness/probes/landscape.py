"""The loss along its gradient, as Santurkar et al. 2018 look at it (section 3, figure 4)."""

import torch
from jaxtyping import Float
from torch import Tensor

from harness.ensemble.optim.optimizer import per_model
from harness.probes.context import ProbeContext, Values, losses_and_gradients

LENGTHS = tuple(2 ** (i / 2) for i in range(-2, 5))  # of the steps along the gradient, 1/2 to 4 times lr


def landscape(context: ProbeContext) -> Values:
    """How loss and gradient change along the gradient g, on the batch of the next update.

    From weights w it steps to w - s g, where s is each of LENGTHS times the learning rate of the next update, whatever
    the optimizer. `landscape_loss_*` are the smallest and the largest loss there and their difference,
    `landscape_gradient_change_*` the smallest and the largest |g(w - s g) - g|, the gradient's predictiveness, and
    `effective_beta` is the largest |g(w - s g) - g| / |s g|.
    """
    models = context.copy()
    start = {name: weight.detach().clone() for name, weight in models.weights.items()}
    _, grads = losses_and_gradients(models, context.next_batch, context.objective)
    direction = {name: grad.clone() for name, grad in grads.items()}
    losses, changes, betas = [], [], []
    for length in LENGTHS:
        lr = context.lr * length
        _step_along(models.weights, start, direction, lr)
        loss, grads = losses_and_gradients(models, context.next_batch, context.objective)
        change = _global_norm({name: grad - direction[name] for name, grad in grads.items()})
        losses.append(loss.detach().clone())
        changes.append(change)
        betas.append(change / (lr * _global_norm(direction)))
    # "LENGTHS M" -> "M"
    smallest, largest = torch.stack(losses).amin(0), torch.stack(losses).amax(0)
    return {
        "landscape_loss_min": smallest,
        "landscape_loss_max": largest,
        "landscape_loss_range": largest - smallest,
        "landscape_gradient_change_min": torch.stack(changes).amin(0),
        "landscape_gradient_change_max": torch.stack(changes).amax(0),
        "effective_beta": torch.stack(betas).amax(0),
    }


@torch.no_grad()
def _step_along(
    weights: dict[str, Tensor], start: dict[str, Tensor], direction: dict[str, Tensor], lr: Float[Tensor, "M"]
) -> None:
    """Set the weights to a step of gradient descent from `start`."""
    for name, weight in weights.items():
        factor = per_model(lr.to(weight.dtype), weight.ndim)
        weight.copy_(start[name] - factor * direction[name])


def _global_norm(tensors: dict[str, Tensor]) -> Float[Tensor, "M"]:
    """The Euclidean norm of all of a model's tensors together."""
    squares = [tensor.flatten(1).square().sum(1) for tensor in tensors.values()]
    # "M W" -> "M": a sum along the first dimension would be taken in an order that the number of models decides
    return torch.stack(squares, 1).sum(1).sqrt()
