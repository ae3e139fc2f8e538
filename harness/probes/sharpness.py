"""How sharply the loss bends: the largest eigenvalue of its Hessian."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from harness.nn.losses import per_example_loss
from harness.probes.context import ProbeContext, Values
from harness.rng import generator

ITERATIONS = 16  # products with the Hessian; on nets of this project's suites within a thousandth, mostly
Product = Callable[[Float[Tensor, "M P"]], Float[Tensor, "M P"]]


def sharpness(context: ProbeContext) -> Values:
    """The largest eigenvalue of the Hessian of the loss by all weights, on the batch of probes, in training mode.

    It is estimated from below by ITERATIONS steps of Lanczos's method, which comes closer than as many power iterations
    and looks for the largest, not the largest in size; products with the Hessian are exact, by differentiating twice.
    """
    models = context.copy()
    weights = list(models.weights.values())
    out = models(context.batch.x, shared=context.batch.shared)
    loss = per_example_loss(out, context.batch.y).mean(1).sum()  # no model's weights are in another's loss
    grads = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True, materialize_grads=True)

    def product(v: Float[Tensor, "M P"]) -> Float[Tensor, "M P"]:
        parts = torch.split(v, [weight[0].numel() for weight in weights], 1)
        vs = [part.view_as(weight) for part, weight in zip(parts, weights, strict=True)]
        found = torch.autograd.grad(
            grads, weights, vs, retain_graph=True, allow_unused=True, materialize_grads=True
        )  # fmt: skip
        return torch.cat([part.flatten(1) for part in found], 1)

    size = sum(weight[0].numel() for weight in weights)
    starts = [torch.randn(size, generator=generator(seed, "sharpness")) for seed in context.seeds]
    return {"sharpness": largest_eigenvalue(product, torch.stack(starts).to(out), min(ITERATIONS, size))}


def largest_eigenvalue(product: Product, start: Float[Tensor, "M P"], steps: int) -> Float[Tensor, "M"]:
    """The largest eigenvalue of M symmetric matrices, as far as so many steps of Lanczos 1950 show it.

    Vectors are made orthogonal to the two before alone: what rounding brings back doubles eigenvalues, and moves none.
    """
    before, now = torch.zeros_like(start), start / start.norm(dim=1, keepdim=True)
    diagonal, beside = [], [torch.zeros_like(start[:, 0])]
    for _ in range(steps):
        r = product(now) - beside[-1].unsqueeze(1) * before
        diagonal.append((now * r).sum(1))
        r = r - diagonal[-1].unsqueeze(1) * now
        beside.append(r.norm(dim=1))
        before, now = now, r / beside[-1].clamp_min(torch.finfo(r.dtype).tiny).unsqueeze(1)
    small, inner = torch.stack(diagonal, 1).diag_embed(), torch.stack(beside[1:], 1)[:, :-1]
    small = small + inner.diag_embed(1) + inner.diag_embed(-1)
    values = torch.linalg.eigvalsh(small.nan_to_num(0.0, 0.0, 0.0).double()).amax(1)
    found: Tensor = values.masked_fill(~small.isfinite().flatten(1).all(1), torch.nan)
    return found
