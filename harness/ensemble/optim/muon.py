"""Muon: Jordan et al. 2024, for the hidden matrices of a model; all its other weights are AdamW's.

Which these are, and that both take one learning rate, is as in the reference code of Liu et al. 2025, "Muon is scalable
for LLM training": the step is scaled to the size of AdamW's (adjust_lr_fn="match_rms_adamw").
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harness.ensemble.optim.adam import ADAMW, adam_corrections, adam_numbers
from harness.ensemble.optim.optimizer import Optimizer, OptimizerState, Settings
from harness.nn.module_state import parameters_of
from harness.spec.optimizer_args import Args

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the iteration, as Jordan et al. chose them
MUON_ARGS = {"momentum": 0.95, "nesterov": True, "eps": 1e-7, "ns_steps": 5, "adjust_lr_fn": "match_rms_adamw"}
REST_ARGS = {"betas": (0.9, 0.95), "adamw_eps": 1e-8}  # of AdamW


def hidden_matrices(model: nn.Module) -> frozenset[str]:
    """The names of the weights of two dimensions, without those of embeddings and the last, which makes the output."""
    embeddings = {
        id(weight)
        for layer in model.modules()
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag)
        for weight in layer.parameters()
    }
    matrices = [
        name for name, weight in parameters_of(model).items() if weight.ndim == 2 and id(weight) not in embeddings
    ]
    return frozenset(matrices[:-1])


def _muon(
    weight: Float[Tensor, "M A B"], grad: Float[Tensor, "M A B"], state: OptimizerState, settings: Settings
) -> None:
    """As torch.optim.Muon has it."""
    numbers, args = settings.numbers, settings.args
    mean = state["momentum"].lerp_(grad, numbers["rest"])
    step = grad.lerp(mean, numbers["momentum"]) if args["nesterov"] else mean
    step = _orthogonalised(step, numbers["eps"], args["ns_steps"])
    rows, columns = weight.shape[1:]
    is_matched = args["adjust_lr_fn"] == "match_rms_adamw"
    scale = 0.2 * math.sqrt(max(rows, columns)) if is_matched else math.sqrt(max(1, rows / columns))
    weight.mul_(1 - settings.lr * settings.weight_decay)
    weight.sub_(settings.lr * scale * step)


def _orthogonalised(grad: Float[Tensor, "M A B"], eps: Tensor, steps: int) -> Float[Tensor, "M A B"]:
    """Near the orthogonal matrices that are nearest to these, by Newton and Schulz's iteration in bfloat16."""
    a, b, c = COEFFICIENTS
    is_tall = grad.shape[1] > grad.shape[2]
    x = grad.bfloat16()
    x = x.mT if is_tall else x
    norm = torch.linalg.vector_norm(x.flatten(1), dim=1)[:, None, None]
    x = x / norm.maximum(eps.to(x.dtype))
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


def _muon_numbers(args: Args) -> Mapping[str, float]:
    return {"momentum": args["momentum"], "rest": 1 - args["momentum"], "eps": args["eps"]}


def _adamw_args(args: Args) -> dict[str, Any]:
    """The arguments of AdamW among those of Muon."""
    return {"betas": args["betas"], "eps": args["adamw_eps"]}


REST = replace(
    ADAMW,
    args={**MUON_ARGS, **REST_ARGS},
    numbers=lambda args: adam_numbers(_adamw_args(args)),
    corrections=lambda step, args: adam_corrections(step, _adamw_args(args)),
    torch_args=_adamw_args,
    compiled_rule=None,
)

MUON = Optimizer(
    update=_muon,
    args=REST.args,
    numbers=_muon_numbers,
    state_names=lambda trials: ("momentum",),
    torch_class=torch.optim.Muon,
    torch_args=lambda args: {name: value for name, value in args.items() if name in MUON_ARGS},
    torch_state={"momentum": "momentum_buffer"},
    rest=REST,
)
