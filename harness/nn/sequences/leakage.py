"""Whether a model that is to predict the next tokens is shown them."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from harness.errors import SuiteError
from harness.rng import preserved_generators

NOISE = 0.1  # on weights, so that nothing that starts as zero hides a branch
TOLERANCE = 1e-4


def check_causal(model: nn.Module, name: str, examples: Tensor, vocabulary: int) -> None:
    """SuiteError where outputs at a position depend on tokens "N L" after it, which are what they are to predict.

    One forward of a copy before and after the second half of all tokens is changed.
    """
    first = examples.shape[1] // 2
    later = examples.clone()
    later[:, first:] = (later[:, first:] + 1) % vocabulary
    with preserved_generators(), torch.no_grad():
        model = deepcopy(model).eval()
        rng = torch.Generator().manual_seed(0)
        for weight in (weight for weight in model.parameters() if weight.is_floating_point()):
            weight.add_(torch.randn(weight.shape, generator=rng).to(weight), alpha=NOISE)
        before, after = (model(tokens)[:, :first] for tokens in (examples, later))
    if not torch.allclose(before, after, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
        raise SuiteError(
            f"model {name!r} sees the tokens that it is to predict: its outputs depend on later positions; for a "
            "transformer say causal=True, and use no norm over positions"
        )
