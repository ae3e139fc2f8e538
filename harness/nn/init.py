"""How weights start. Norms keep the scale of 1 and shift of 0 that they are made with.

To add an init: one entry in INITS, a function that fills one weight in place, drawing from the generator alone.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from harness.errors import SuiteError, lookup
from harness.rng import generator
from harness.spec.trial import Trial

Fill = Callable[[Tensor, torch.Generator], object]

INITS: dict[str, Fill | None] = {
    "default": None,  # as torch makes the layer, biases included
    "he": lambda weight, rng: nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=rng),  # He et al. 2015
    "xavier": lambda weight, rng: nn.init.xavier_normal_(weight, generator=rng),  # Glorot & Bengio 2010
    "normal": lambda weight, rng: nn.init.normal_(weight, generator=rng),  # init_scale is its deviation
}
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@torch.no_grad()
def initialise(model: nn.Module, trial: Trial) -> None:
    """Fill the weights of every linear and convolution layer, and zero their biases, in the order of the modules."""
    fill = lookup(INITS, trial.init, "init")
    rng = generator(trial.seed, "weights")
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, WEIGHTED)}
    computed = [name for name, layer in layers.items() if is_parametrized(layer)]
    if computed and (fill is not None or trial.init_scale != 1.0):
        raise SuiteError(
            f"init={trial.init!r} with init_scale={trial.init_scale:g} sets weights, and that of module "
            f"{computed[0]!r} is parametrised; leave both at their defaults, or initialise where the model is made"
        )
    for layer in layers.values():
        if fill is not None:
            fill(layer.weight, rng)
            if layer.bias is not None:
                layer.bias.zero_()
    if trial.init_scale != 1.0:
        for weight in {layer.weight for layer in layers.values()}:  # two layers may share one
            weight.mul_(trial.init_scale)
