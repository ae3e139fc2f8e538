"""What the harness is measured against: the same trials trained in the ways that its users know.

Each rival takes trials of a multilayer perceptron without or with batch norm and returns seconds.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from harness.data.datasets import Dataset
from harness.ensemble.device import synchronise
from harness.nn.models import build
from harness.rng import generator
from harness.spec.trial import Trial

NO_FACTORIES: Mapping[str, Callable[..., Any]] = MappingProxyType({})


def tutorial(
    trial: Trial, data: Dataset, device: str = "cpu", factories: Mapping[str, Callable[..., Any]] = NO_FACTORIES
) -> float:
    """One trial as a tutorial trains it: a loop, the loss of every step, the test accuracy every so often.

    `factories` make models that the harness does not have.
    """
    started = time.perf_counter()
    model = build(trial, data.input_shape, data.classes, factories).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=trial.lr)
    x_train, y_train, x_test, y_test = (
        torch.from_numpy(a[s]).to(device) for s in ("train", "test") for a in (data.x, data.y)
    )  # fmt: skip
    losses, accuracies = [], []
    per_epoch = len(y_train) // trial.batch_size
    for step in range(trial.steps):
        epoch, batch = divmod(step, per_epoch)
        if per_epoch > 1:
            if batch == 0:
                order = torch.randperm(len(y_train), generator=generator(trial.seed, "order", epoch)).to(device)
            some = order[batch * trial.batch_size : (batch + 1) * trial.batch_size]
            x, y = x_train[some], y_train[some]
        else:
            x, y = x_train, y_train
        model.train()
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % trial.eval_every == 0:
            model.eval()
            with torch.no_grad():
                predicted = model(x_test).argmax(1)
                accuracies.append((predicted == y_test).sum().item() / len(y_test))
    return time.perf_counter() - started


def _on_one_thread(trial: Trial, data: Dataset) -> float:
    torch.set_num_threads(1)
    return tutorial(trial, data)


def in_processes(trials: Sequence[Trial], data: Dataset, processes: int) -> float:
    """The tutorial's loop in a pool of processes, one thread each; starting them is not counted."""
    with ProcessPoolExecutor(processes, get_context("forkserver")) as pool:
        warm = [pool.submit(_on_one_thread, trials[0], data) for _ in range(processes)]
        for future in warm:
            future.result()
        started = time.perf_counter()
        list(pool.map(_on_one_thread, trials, [data] * len(trials)))
        return time.perf_counter() - started


def matrix_products(trial: Trial, data: Dataset, models: int, steps: int, device: str = "cpu") -> float:
    """The matrix products of training alone, batched over the models: what no program can go under."""
    sizes = [m for m in build(trial, data.input_shape, data.classes, {}).modules() if isinstance(m, nn.Linear)]
    n = trial.batch_size
    weights = [torch.randn(models, m.out_features, m.in_features, device=device) for m in sizes]
    inputs = [torch.randn(models, m.in_features, n, device=device) for m in sizes]
    grads = [torch.randn(models, m.out_features, n, device=device) for m in sizes]
    for step in range(1 + steps):
        if step == 1:  # the first one loads what the others use
            synchronise(torch.device(device))
            started = time.perf_counter()
        for i, (weight, x, grad) in enumerate(zip(weights, inputs, grads, strict=True)):
            torch.bmm(weight, x)
            torch.bmm(grad, x.transpose(1, 2))
            if i:
                torch.bmm(weight.transpose(1, 2), grad)
    synchronise(torch.device(device))
    return time.perf_counter() - started


def jax_scan(trial: Trial, data: Dataset, models: int, steps: int) -> float:
    """jit(vmap(scan)) of JAX: the whole training of all models as one compiled program; compiling is not counted."""
    import jax
    import jax.numpy as jnp

    batch_norm, n = trial.norm == "batch", trial.batch_size
    x_all, y_all = jnp.asarray(data.x["train"].reshape(len(data.y["train"]), -1)), jnp.asarray(data.y["train"])
    layers = [m for m in build(trial, data.input_shape, data.classes, {}).modules() if isinstance(m, nn.Linear)]
    sizes = [(m.in_features, m.out_features) for m in layers]

    def forward(params, stats, x):
        new = []
        for i, (weight, bias, scale, shift) in enumerate(params):
            x = x @ weight + bias
            if i < len(params) - 1:
                if batch_norm:
                    mean, var = x.mean(0), x.var(0)
                    running_mean, running_var = stats[i]
                    new.append((0.9 * running_mean + 0.1 * mean, 0.9 * running_var + 0.1 * var * n / (n - 1)))
                    x = (x - mean) * jax.lax.rsqrt(var + 1e-5) * scale + shift
                x = jax.nn.relu(x)
        return x, new

    def loss(params, stats, x, y):
        out, new = forward(params, stats, x)
        return -jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], 1).mean(), new

    def one_model(key, lr):
        keys = jax.random.split(key, len(sizes) + 1)
        params = [
            (jax.random.normal(k, (i, o)) * (2 / i) ** 0.5, jnp.zeros(o), jnp.ones(o), jnp.zeros(o))
            for k, (i, o) in zip(keys, sizes, strict=False)
        ]
        stats = [(jnp.zeros(o), jnp.ones(o)) for _, o in sizes[:-1]]
        order = jax.random.permutation(keys[-1], len(y_all))

        def step(carry, number):
            params, stats = carry
            some = jax.lax.dynamic_slice(order, (number % (len(y_all) // n) * n,), (n,))
            x, y = (x_all, y_all) if n == len(y_all) else (x_all[some], y_all[some])
            (value, new), grads = jax.value_and_grad(loss, has_aux=True)(params, stats, x, y)
            return (jax.tree.map(lambda p, g: p - lr * g, params, grads), new if batch_norm else stats), value

        return jax.lax.scan(step, (params, stats), jnp.arange(steps))[1]

    program = jax.jit(jax.vmap(one_model))
    keys, lrs = jax.random.split(jax.random.key(0), models), jnp.full(models, trial.lr)
    program(keys, lrs).block_until_ready()
    started = time.perf_counter()
    program(keys, lrs).block_until_ready()
    return time.perf_counter() - started


def against_jax(trial: Trial, data: Dataset, sizes: Sequence[int], device: str, step: float) -> str:
    """How many times as long as a model's `step` JAX takes for its own at its best size, on the same device."""
    try:
        import jax
    except ImportError:
        return "no JAX"
    if jax.default_backend() != ("gpu" if device == "cuda" else device):
        return f"JAX has no {device}"  # it would take what there is, and say nothing
    return f"{min(jax_scan(trial, data, models, 200) / 200 / models for models in sizes) / step:.2f}"
