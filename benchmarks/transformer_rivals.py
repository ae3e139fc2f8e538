"""The same small language model trained by a loop of torch and by JAX, with Adam: seconds of a model's step."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from harness.data.datasets import Dataset
from harness.nn.models import build
from harness.nn.sequences.attention import heads_of
from harness.rng import generator
from harness.spec.trial import Trial

BETAS, ADAM_EPS, NORM_EPS = (0.9, 0.999), 1e-8, 1e-5


def plain_loop(trial: Trial, data: Dataset, steps: int) -> float:
    """One after the other: a model, an optimizer of torch, the loss of every step."""
    model = built_model(trial, data, 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=trial.lr, weight_decay=0.0)
    x_train, y_train = (torch.from_numpy(array["train"]) for array in (data.x, data.y))
    per_epoch, losses = len(x_train) // trial.batch_size, []
    started = time.perf_counter()
    for step in range(steps):
        epoch, batch = divmod(step, per_epoch)
        if batch == 0:
            order = torch.randperm(len(x_train), generator=generator(trial.seed, "order", epoch))
        some = order[batch * trial.batch_size : (batch + 1) * trial.batch_size]
        loss = F.cross_entropy(model(x_train[some]).flatten(0, 1), y_train[some].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return (time.perf_counter() - started) / steps


def jax_scan(trial: Trial, data: Dataset, models: int, steps: int) -> float:
    """jit(vmap(scan)): the training of all models as one compiled program; compiling is not counted."""
    import jax
    import jax.numpy as jnp

    x_all, y_all = (jnp.asarray(array["train"].astype(np.int32)) for array in (data.x, data.y))
    states = [built_model(trial, data, seed).state_dict() for seed in range(models)]
    weights = {name: jnp.stack([jnp.asarray(state[name].numpy()) for state in states]) for name in states[0]}
    count = trial.batch_size

    def one_model(params: dict[str, Any], key: Any) -> Any:
        order = jax.random.permutation(key, len(x_all))

        def step(carry: Any, number: Any) -> Any:
            params, mean, square = carry
            some = jax.lax.dynamic_slice(order, (number % (len(x_all) // count) * count,), (count,))
            loss, grads = jax.value_and_grad(loss_of)(params, x_all[some], y_all[some])
            mean = jax.tree.map(lambda m, g: BETAS[0] * m + (1 - BETAS[0]) * g, mean, grads)
            square = jax.tree.map(lambda s, g: BETAS[1] * s + (1 - BETAS[1]) * g * g, square, grads)
            scales = [1 - beta ** (number + 1.0) for beta in BETAS]
            params = jax.tree.map(
                lambda p, m, s: p - trial.lr * m / scales[0] / (jnp.sqrt(s / scales[1]) + ADAM_EPS),
                *(params, mean, square),
            )
            return (params, mean, square), loss

        zeros = jax.tree.map(jnp.zeros_like, params)
        return jax.lax.scan(step, (params, zeros, zeros), jnp.arange(steps))[1]

    def loss_of(params: dict[str, Any], x: Any, y: Any) -> Any:
        logits = jax.nn.log_softmax(jax_outputs(params, x))
        return -jnp.take_along_axis(logits, y[..., None], -1).mean()

    program, keys = jax.jit(jax.vmap(one_model)), jax.random.split(jax.random.key(0), models)
    program(weights, keys).block_until_ready()
    started = time.perf_counter()
    program(weights, keys).block_until_ready()
    return (time.perf_counter() - started) / steps / models


def jax_outputs(params: dict[str, Any], x: Any) -> Any:
    """What a causal pre-norm transformer with layer norms makes of tokens "N L", by the names of its weights here."""
    import jax
    import jax.numpy as jnp

    def linear(name: str, x: Any) -> Any:
        return x @ params[f"{name}.weight"].T + params[f"{name}.bias"]

    def norm(name: str, x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + NORM_EPS)
        return scaled * params[f"{name}.weight"] + params[f"{name}.bias"]

    def attention(name: str, x: Any) -> Any:
        # "N L 3C" -> three of "N heads L D"
        heads = heads_of(x.shape[-1])
        qkv = linear(f"{name}.qkv", x).reshape(*x.shape[:-1], 3, heads, -1).transpose(2, 0, 3, 1, 4)
        scores = qkv[0] @ qkv[1].swapaxes(-1, -2) * qkv.shape[-1] ** -0.5
        scores = jnp.where(jnp.tril(jnp.ones(scores.shape[-2:], bool)), scores, -jnp.inf)
        out = jax.nn.softmax(scores) @ qkv[2]
        return linear(f"{name}.out", out.swapaxes(1, 2).reshape(x.shape))

    blocks = sorted({int(name.split(".")[0]) for name in params if "attention" in name})
    x = params["0.weight"][x] + params["1.weight"]
    for block in blocks:
        x = x + attention(f"{block}.attention.0", norm(f"{block}.attention_norm", x))
        hidden = jax.nn.relu(linear(f"{block}.mlp.0", norm(f"{block}.mlp_norm", x)))
        x = x + linear(f"{block}.mlp.2", hidden)
    last = blocks[-1] + 1
    return linear(f"{last + 1}", norm(f"{last}", x))


def built_model(trial: Trial, data: Dataset, seed: int) -> torch.nn.Module:
    return build(replace(trial, seed=seed), data.input_shape, data.outputs, {}, data.vocabulary)
