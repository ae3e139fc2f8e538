"""The inputs of nonlinearities: how they are distributed, and which units are saturated or dead."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from harness.nn.module_state import call_with, slots_of
from harness.probes.context import ProbeContext, Values
from harness.probes.layers import Nonlinearity, record_inputs
from harness.rng import seed_default_generators

PERCENTILES = (15, 50, 85)  # of Ioffe & Szegedy 2015, figure 1
FLAT = 0.1  # a unit is saturated where the slope is under this share of the largest


def activations(context: ProbeContext) -> Values:
    """Mean, standard deviation and percentiles of the inputs of each layer's nonlinearity, and shares of lost units.

    All units of a layer, and all pixels, are taken together, over the examples of the batch. `saturated` is the share
    of these inputs at which a sigmoid or tanh has less than FLAT of its largest slope; `dead` is the share of units
    (channels) of a ReLU that are zero for the whole batch.
    """
    return measured_by_layer(context, _summary)


def measured_by_layer(
    context: ProbeContext, measure: Callable[[Float[Tensor, "N C ..."], Nonlinearity], dict[str, Tensor]]
) -> Values:
    """What `measure` makes of the inputs of each layer's nonlinearity, one value per model for each of its names."""
    rows = [_measure_model(context, model, measure) for model in range(context.models.size)]
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


@torch.no_grad()
def _measure_model(
    context: ProbeContext, model: int, measure: Callable[[Tensor, Nonlinearity], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """The measurements of one model, which is run as the plain module that it is."""
    ensemble = context.models
    tensors = {name: tensor[model].clone() for name, tensor in (*ensemble.weights.items(), *ensemble.buffers.items())}
    x, _ = context.batch.select(model)
    autocast = ensemble.options.autocast
    with (
        torch.autocast(x.device.type, autocast, enabled=autocast is not None),
        record_inputs(ensemble.template) as inputs,
    ):
        seed_default_generators(context.draw_seed(model))
        call_with(ensemble.template, slots_of(ensemble.template), tensors, x)
    values: dict[str, Tensor] = {}
    for i, layer in enumerate(context.layers, 1):
        if layer.nonlinearity is not None:
            measured = measure(inputs[layer.call].double(), layer.nonlinearity)
            values |= {f"{name}/{i}": value for name, value in measured.items()}
    return values


def _summary(x: Float[Tensor, "N C ..."], nonlinearity: Nonlinearity) -> dict[str, Tensor]:
    std, mean = torch.std_mean(x, correction=0)
    summary = {"activation_mean": mean, "activation_std": std}
    summary |= {f"activation_p{p}": value for p, value in zip(PERCENTILES, percentiles(x), strict=True)}
    if nonlinearity.slope is not None:
        summary["saturated"] = (nonlinearity.slope(x) < FLAT).double().mean()
    if nonlinearity.dies:
        # "C N*..."
        summary["dead"] = (x.transpose(0, 1).flatten(1) <= 0).all(1).double().mean()
    return summary


def percentiles(x: Tensor) -> list[Tensor]:
    """PERCENTILES of all numbers in x, interpolated linearly: torch.quantile for tensors of any size."""
    ordered = x.flatten().sort().values
    values = []
    for p in PERCENTILES:
        lower, remainder = divmod((len(ordered) - 1) * p, 100)
        values.append(torch.lerp(ordered[lower], ordered[min(lower + 1, len(ordered) - 1)], remainder / 100))
    return values
