"""What theory predicts, for claims such as `Claim.matches(..., published=batch_norm_gradient_growth(64))`."""

import math

from harness.errors import SuiteError


def batch_norm_gradient_growth(norm_batch: int) -> float:
    """The factor by which the squared norm of gradients grows from a layer to the one before it, at initialisation.

    Of a deep and wide net of linear layers, each with batch norm over B examples and ReLU behind it, it is
    1/(B-3) ((B-1 + J'(c)) / (1 - J(c)) - 1), with c = -1/(B-1) and J the arc-cosine kernel of degree 1. For large
    batches it falls to pi/(pi-1) = 1.467; without a norm, from He's init, it is 1. Yang et al. 2019, "A mean field
    theory of batch normalization", on ReLU. The curve probe.gradient_growth measures it; with a handful of examples
    it comes close in very wide nets alone (5 examples: 2.27, measured at a width of 64: 2.0).
    """
    if norm_batch < 4:
        raise SuiteError(f"the gradient's growth under batch norm is finite for 4 examples or more, got {norm_batch}")
    c = -1 / (norm_batch - 1)
    angle = math.pi - math.acos(c)
    kernel, slope = (math.sqrt(1 - c * c) + angle * c) / math.pi, angle / math.pi
    return ((norm_batch - 1 + slope) / (1 - kernel) - 1) / (norm_batch - 3)
