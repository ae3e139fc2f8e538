"""Known layers of M models as one layer each: the same arithmetic, in a layout that needs no copies.

Vectors lie as "M C N" (models, channels, examples): a linear layer is a batched matrix product, and a batch norm of all
models is one batch norm over M x C channels, which is a view. Signals and images lie as "N MC L" and "N MC H W": a
convolution is one with M times the groups. Examples that all models share come as "N ...", until a layer with weights
gives each model its own.

To add a layer: one entry in the FORMS of its family, a function of the call and its input. Layers that treat each
number or each channel by itself (activations, pooling) need none: they don't see that there are many models. Norms
without an entry are mapped over the models, each by itself.
"""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules.batchnorm import _NormBase

from harness.ensemble.backends.stacked_layers import batch_norms, example_norms, weights, without_weights
from harness.ensemble.backends.stacked_layers.call import LayerCall, LayerFn
from harness.nn.norms import NORM_LAYERS

LAYERS: dict[type[nn.Module], LayerFn] = {
    **weights.FORMS,
    **batch_norms.FORMS,
    **example_norms.FORMS,
    **without_weights.FORMS,
}


def stacked_form(layer: nn.Module) -> LayerFn | None:
    """What such a layer of all models computes; None where that isn't known."""
    if type(layer) in LAYERS:
        return LAYERS[type(layer)]
    # The batches that a norm counts can't be told apart under vmap.
    return _mapped if isinstance(layer, NORM_LAYERS) and not isinstance(layer, _NormBase) else None


def _mapped(call: LayerCall, x: Tensor) -> Tensor:
    """A layer whose output has the shape of its input, mapped over the models."""

    def one(tensors: Mapping[str, Tensor], examples: Tensor) -> Tensor:
        out: Tensor = functional_call(call.layer, dict(tensors), (examples,))
        return out

    x = call.per_model(x)
    if call.is_of_vectors:
        # "M C N" -> "M N C" and back
        return vmap(one)(dict(call.tensors), x.transpose(1, 2)).transpose(1, 2)
    return vmap(one, (0, 1), 1)(dict(call.tensors), call.unfold_models(x)).flatten(1, 2)
