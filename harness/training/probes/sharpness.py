"""How sharply the loss bends: the largest eigenvalue of its Hessian."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from harness.training.losses import each_loss
from harness.training.probes.view import Values, View
from harness.training.streams import generator

ITERATIONS = 20  # products with the Hessian
Product = Callable[[Float[Tensor, "M P"]], Float[Tensor, "M P"]]


def sharpness(view: View) -> Values:
    """The largest eigenvalue of the Hessian of the loss by all weights, on the batch of probes, in training mode.

    It is estimated from below by ITERATIONS steps of Lanczos's method, which no power iteration of as many steps
    comes closer than; products with the Hessian are exact, by differentiating the gradient.
    """
    models = view.copy()
    weights = list(models.weights.values())
    out = models(view.batch.x, shared=view.batch.shared)
    loss = each_loss(out, view.batch.y).mean(1).sum()  # no model's weights are in another's loss
    grads = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True, materialize_grads=True)

    def product(v: Float[Tensor, "M P"]) -> Float[Tensor, "M P"]:
        parts = torch.split(v, [weight[0].numel() for weight in weights], 1)
        vs = [part.view_as(weight) for part, weight in zip(parts, weights, strict=True)]
        found = torch.autograd.grad(
            grads, weights, vs, retain_graph=True, allow_unused=True, materialize_grads=True
        )  # fmt: skip
        return torch.cat([part.flatten(1) for part in found], 1)

    size = sum(weight[0].numel() for weight in weights)
    starts = [torch.randn(size, generator=generator(seed, "sharpness")) for seed in view.seeds]
    return {"sharpness": largest_eigenvalue(product, torch.stack(starts).to(out), min(ITERATIONS, size))}


def largest_eigenvalue(product: Product, start: Float[Tensor, "M P"], steps: int) -> Float[Tensor, "M"]:
    """The largest eigenvalue of M symmetric matrices, as far as so many steps of Lanczos 1950 show it.

    Every vector is made orthogonal to all before, for rounding would bring the first ones back.
    """
    q = start / start.norm(dim=1, keepdim=True)
    basis, diagonal, beside = [q], [], []
    for _ in range(steps):
        r = product(q)
        diagonal.append((q * r).sum(1))
        past = torch.stack(basis, 1)
        for _ in range(2):
            r = r - torch.einsum("mkp,mk->mp", past, torch.einsum("mkp,mp->mk", past, r))
        length = r.norm(dim=1)
        beside.append(length)
        q = r / length.clamp_min(torch.finfo(r.dtype).tiny).unsqueeze(1)
        basis.append(q)
    inner = torch.stack(beside[:-1], 1) if steps > 1 else diagonal[0].new_zeros(len(start), 0)
    small = torch.stack(diagonal, 1).diag_embed() + inner.diag_embed(1) + inner.diag_embed(-1)
    values = torch.linalg.eigvalsh(small.nan_to_num(0.0, 0.0, 0.0).double()).amax(1)
    found: Tensor = values.masked_fill(~small.isfinite().flatten(1).all(1), torch.nan)
    return found
