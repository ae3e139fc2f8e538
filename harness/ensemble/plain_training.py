"""A few steps of training, as torch does them and as a backend does them, for the one to be held against the other."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from harness.ensemble.ensemble import Ensemble
from harness.nn.module_state import buffers_of, example_dtype, input_dtype, parameters_of, vocabulary_of
from harness.rng import seed_default_generators, sub_seed

EXAMPLES = 5  # of each batch
SHARED = (False, True, False)  # step -> whether its examples are shared by all models
LR = 0.01

Batches = list[tuple[Tensor, Tensor, bool]]  # of each step: examples, noise in the place of a loss, shared or not


def without_dropout(model: nn.Module) -> nn.Module:
    """The model, whose dropout layers let everything pass: two ways to run it draw in two orders."""
    for layer in model.modules():
        if isinstance(layer, _DropoutNd):
            layer.p = 0.0
    return model


def check_batches(
    model: nn.Module, input_shape: tuple[int, ...], models: int, examples: Tensor | None = None
) -> Batches:
    """Batches of some of these examples "N ...", or of noise that such models take.

    They are "N M ...", or "N ..." where all models share them.
    """
    dtype, vocabulary = input_dtype(model), vocabulary_of(model)
    rng = torch.Generator().manual_seed(0)
    batches = []
    for step, shared in enumerate(SHARED):
        shape = (EXAMPLES,) if shared else (EXAMPLES, models)
        if examples is not None:
            rows = torch.arange(torch.Size(shape).numel()).view(shape) + step * EXAMPLES * models
            x = examples[rows % len(examples)].to(example_dtype(model))
        elif vocabulary is not None:
            x = torch.randint(vocabulary, (*shape, *input_shape), generator=rng)
        else:
            x = torch.randn((*shape, *input_shape), generator=rng, dtype=dtype)
        batches.append((x, torch.randn(2**12, generator=rng, dtype=dtype), shared))
    return batches


def plain_outputs(models: Sequence[nn.Module], batches: Batches) -> dict[str, Tensor]:
    """What training and evaluation do to the modules themselves, each by itself."""
    rows = [_plain_outputs(model, i, batches) for i, model in enumerate(models)]
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def _plain_outputs(model: nn.Module, i: int, batches: Batches) -> dict[str, Tensor]:
    weights = {name: weight for name, weight in parameters_of(model).items() if weight.requires_grad}
    outputs: dict[str, Tensor] = {}
    model.train()
    for step, (x, noise, shared) in enumerate(batches):
        own = x if shared else x[:, i]
        seed_default_generators(_seed(step, i, 0))
        out = model(own)
        model.zero_grad()
        # "N K" -> "K N", or "N L K" -> "K N*L"
        flat = out.flatten(0, -2).T
        flat.backward(_noise_like(flat, noise))
        model.eval()
        seed_default_generators(_seed(step, i, 1))
        with torch.no_grad():
            eval_out = model(own)
        model.train()
        grads = {
            name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
            for name, weight in weights.items()
        }
        descend(model, LR)
        outputs |= _named(step, flat, eval_out.flatten(0, -2).T, grads, dict(weights), buffers_of(model))
    return outputs


@torch.no_grad()
def descend(model: nn.Module, lr: float) -> None:
    """A step of gradient descent; to build the first of torch's optimizers takes a second, in every process."""
    for weight in model.parameters():
        if weight.grad is not None:
            weight.sub_(_bounded(weight.grad[None])[0], alpha=lr)


def _bounded(grads: Tensor) -> Tensor:
    """Gradients "M ..." that are at most 1 in every model: a net that blows up makes rounding errors blow up too."""
    largest = grads.abs().reshape(len(grads), -1).amax(1).clamp(min=1) if grads.numel() else torch.ones(len(grads))
    return grads / largest.view(-1, *[1] * (grads.dim() - 1))


@torch.no_grad()
def ensemble_outputs(ensemble: Ensemble, batches: Batches) -> dict[str, Tensor]:
    """What training and evaluation do to the models of an ensemble."""
    outputs: dict[str, Tensor] = {}
    for step, (x, noise, shared) in enumerate(batches):
        ensemble.count_batches(step)
        if ensemble.stack.draws:
            ensemble.seed_draws([sub_seed(step, str(i)) for i in range(ensemble.size)])
        with torch.enable_grad():
            out, grads = ensemble.gradients(x, shared=shared, loss_fn=partial(_noisy_loss, noise=noise))
        grads = {name: grad.clone() for name, grad in grads.items()}
        with ensemble.eval_mode():
            eval_out = ensemble(x, shared=shared)
        for name, weight in ensemble.weights.items():
            weight.sub_(_bounded(grads[name]), alpha=LR)
        outputs |= _named(step, out, eval_out, grads, ensemble.weights, ensemble.buffers)
    return outputs


def _seed(step: int, model: int, call: int) -> int:
    """What a backend makes of the seed of a model in its first and its second call."""
    return sub_seed(sub_seed(step, str(model)), "call", call)


def _noisy_loss(out: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The outputs "M K N" for losses, and noise for their gradient."""
    return out.clone(), torch.stack([_noise_like(each, noise) for each in out])


def _doubled(buffer: Tensor) -> Tensor:
    return buffer.to(torch.complex128 if buffer.is_complex() else torch.float64)


def _noise_like(out: Tensor, noise: Tensor) -> Tensor:
    """Numbers "K N" that are the same for each model."""
    count = out.numel()
    return noise.repeat(-(-count // len(noise)))[:count].view(out.shape).to(out.dtype)


def _named(
    step: int,
    out: Tensor,
    eval_out: Tensor,
    grads: dict[str, Tensor],
    weights: dict[str, Tensor],
    buffers: dict[str, Tensor],
) -> dict[str, Tensor]:
    named = {
        "its output": out,
        "its output in evaluation": eval_out,
        **{f"the gradient of {name}": grad for name, grad in grads.items()},
        **{f"the parameter {name}": weights[name] for name in grads},
        **{f"the buffer {name}": _doubled(buffer) for name, buffer in buffers.items()},
    }
    return {f"{name} (step {step})": value.detach().clone() for name, value in named.items()}
