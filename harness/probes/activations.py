"""What reaches the nonlinearities, and which units are lost to them."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from harness.probes.context import ProbeContext, Values
from harness.probes.layers import Nonlinearity, seeing_inputs

PERCENTILES = (15, 50, 85)  # of Ioffe & Szegedy 2015, figure 1
FLAT = 0.1  # a unit is saturated where the slope is under this share of the largest


def activations(context: ProbeContext) -> Values:
    """Mean, deviation and percentiles of the inputs of each layer's nonlinearity, and shares of lost units.

    All units of a layer, and all pixels, are taken together, over the examples of the batch. `saturated` is the share
    of these inputs at which a sigmoid or tanh has less than FLAT of its largest slope; `dead` is the share of units
    (channels) of a ReLU that are zero for the whole batch.
    """
    rows = [_of_model(context, model) for model in range(context.models.size)]
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


@torch.no_grad()
def _of_model(context: ProbeContext, model: int) -> dict[str, Tensor]:
    """The measurements of one model, which is run as the plain module that it is."""
    stack = context.models
    tensors = {name: tensor[model].clone() for name, tensor in (*stack.weights.items(), *stack.buffers.items())}
    x, _ = context.batch.of(model)
    cast = torch.autocast(x.device.type, stack.options.autocast, enabled=stack.options.autocast is not None)
    with cast, seeing_inputs(stack.template) as seen:
        functional_call(stack.template, tensors, (x,))
    found: dict[str, Tensor] = {}
    for i, layer in enumerate(context.layers, 1):
        if layer.nonlinearity is not None:
            values = _summary(seen[layer.call].double(), layer.nonlinearity)
            found |= {f"{name}/{i}": value for name, value in values.items()}
    return found


def _summary(x: Float[Tensor, "N C ..."], nonlinearity: Nonlinearity) -> dict[str, Tensor]:
    deviation, mean = torch.std_mean(x, correction=0)
    found = {"activation_mean": mean, "activation_std": deviation}
    found |= {f"activation_p{p}": value for p, value in zip(PERCENTILES, percentiles(x), strict=True)}
    if nonlinearity.slope is not None:
        found["saturated"] = (nonlinearity.slope(x) < FLAT).double().mean()
    if nonlinearity.dies:
        found["dead"] = (x.transpose(0, 1).flatten(1) <= 0).all(1).double().mean()
    return found


def percentiles(x: Tensor) -> list[Tensor]:
    """PERCENTILES of all numbers in x, with lines between neighbours: torch.quantile for tensors of any size."""
    ordered = x.flatten().sort().values
    found = []
    for p in PERCENTILES:
        below, part = divmod((len(ordered) - 1) * p, 100)
        found.append(torch.lerp(ordered[below], ordered[min(below + 1, len(ordered) - 1)], part / 100))
    return found
