"""How large weights are, and how fast they rotate."""

from harness.probes.context import ProbeContext, Values, norm


def weights(context: ProbeContext) -> Values:
    """The norm |w| of each layer's weights, and lr/|w|^2, the effective learning rate of those before a norm.

    A norm makes the loss the same for w and 2w, so that a step of lr rotates w as much as one of lr/|w|^2 rotates w/|w|
    (van Laarhoven 2017); after a bias, a norm over the channels of an example does so as far as the bias is small. lr
    is that of the next update; layers whose scale matters have no such curve.
    """
    values = {}
    for i, layer in enumerate(context.layers, 1):
        weight_norm = norm(context.models.weights[layer.weight].detach())
        values[f"weight_norm/{i}"] = weight_norm
        if layer.is_scale_free:
            values[f"effective_lr/{i}"] = context.lr / weight_norm.square()
    return values
