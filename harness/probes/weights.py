"""How large weights are, and how fast they turn."""

from harness.probes.context import ProbeContext, Values, norm


def weights(context: ProbeContext) -> Values:
    """The norm |w| of each layer's weights, and lr/|w|^2, the effective learning rate of those before a norm.

    A norm makes the loss the same for w and 2w, so that a step of lr turns w as much as one of lr/|w|^2 turns w/|w|
    (van Laarhoven 2017); behind a bias, a norm over the channels of an example does so as far as the bias is small. lr
    is that of the next update; layers whose scale matters have none.
    """
    found = {}
    for i, layer in enumerate(context.layers, 1):
        found[f"weight_norm/{i}"] = size = norm(context.models.weights[f"{layer.name}.weight"].detach())
        if layer.is_scale_free:
            found[f"effective_lr/{i}"] = context.lr / size.square()
    return found
