"""Sharpness: the largest eigenvalue of the loss's Hessian, as it is and relative to the size of the weights."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from harness.probes.context import ProbeContext, Values
from harness.rng import generator

ITERATIONS = 16  # products with the Hessian; on nets of this project's suites within a thousandth, mostly
Product = Callable[[Float[Tensor, "M P"]], Float[Tensor, "M P"]]


def sharpness(context: ProbeContext) -> Values:
    """The largest eigenvalue of the Hessian of the loss with respect to all weights, in training mode.

    It is estimated from below by ITERATIONS steps of Lanczos's method, which comes closer than as many power iterations
    and finds the largest value, not the largest magnitude; products with the Hessian are exact, by double backward.

    `relative_sharpness` is that times the squared norm of all weights: what it would be for w/|w|, where the loss does
    not depend on the scale of w. Weights that norms let grow look flat by the first and not by this (Li et al. 2018).
    """
    models = context.copy()
    weights = list(models.weights.values())
    output = models(context.batch.x, shared=context.batch.shared)
    loss = context.objective.mean_losses(output, context.batch.y).sum()  # no model's weights are in another's loss
    grads = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True, materialize_grads=True)

    def product(v: Float[Tensor, "M P"]) -> Float[Tensor, "M P"]:
        parts = torch.split(v, [weight[0].numel() for weight in weights], 1)
        vectors = [part.view_as(weight) for part, weight in zip(parts, weights, strict=True)]
        products = torch.autograd.grad(
            grads, weights, vectors, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return torch.cat([part.flatten(1) for part in products], 1)

    size = sum(weight[0].numel() for weight in weights)
    starts = [torch.randn(size, generator=generator(seed, "sharpness")) for seed in context.seeds]
    largest = largest_eigenvalue(product, torch.stack(starts).to(output), min(ITERATIONS, size))
    squares = torch.stack([weight.detach().double().flatten(1).square().sum(1) for weight in weights]).sum(0)
    return {"sharpness": largest, "relative_sharpness": largest * squares}


def largest_eigenvalue(product: Product, start: Float[Tensor, "M P"], steps: int) -> Float[Tensor, "M"]:
    """The largest eigenvalue of M symmetric matrices, estimated by so many steps of Lanczos 1950.

    Each vector is orthogonalised against the two before it alone: what rounding brings back repeats eigenvalues, and
    moves none.
    """
    # v_(k-1) and v_k, each "M P"
    previous, current = torch.zeros_like(start), start / start.norm(dim=1, keepdim=True)
    alphas, betas = [], [torch.zeros_like(start[:, 0])]
    for _ in range(steps):
        residual = product(current) - betas[-1].unsqueeze(1) * previous
        alphas.append((current * residual).sum(1))
        residual = residual - alphas[-1].unsqueeze(1) * current
        betas.append(residual.norm(dim=1))
        tiny = torch.finfo(residual.dtype).tiny
        previous, current = current, residual / betas[-1].clamp_min(tiny).unsqueeze(1)
    # The tridiagonal matrix "M steps steps"
    off_diagonal = torch.stack(betas[1:], 1)[:, :-1]
    tridiagonal = torch.stack(alphas, 1).diag_embed() + off_diagonal.diag_embed(1) + off_diagonal.diag_embed(-1)
    largest = torch.linalg.eigvalsh(tridiagonal.nan_to_num(0.0, 0.0, 0.0).double()).amax(1)
    eigenvalue: Tensor = largest.masked_fill(~tridiagonal.isfinite().flatten(1).all(1), torch.nan)
    return eigenvalue
