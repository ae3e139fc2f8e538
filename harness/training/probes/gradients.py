"""How large gradients are, layer by layer."""

from harness.training.probes.view import Values, View, losses_and_gradients, norm


def gradient_norms(view: View) -> Values:
    """The Euclidean norm of the gradient of the loss by each layer's weights, on the batch of probes."""
    _, grads = losses_and_gradients(view.copy(), view.batch)
    return {f"gradient_norm/{i}": norm(grads[f"{layer.name}.weight"]) for i, layer in enumerate(view.layers, 1)}
