"""Does momentum help a small net in JAX?

Needs `pip install 'harness[jax]'`. A state of JAX arrays is saved as any other.
"""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from harness import Claim, Metric, Suite


def logits(params, x):
    for weights, bias in params[:-1]:
        x = jax.nn.relu(x @ weights + bias)
    weights, bias = params[-1]
    return x @ weights + bias


def loss(params, x, y):
    return -jnp.mean(jax.nn.log_softmax(logits(params, x))[jnp.arange(len(y)), y])


@jax.jit
def update(params, velocity, x, y, lr, momentum):
    value, gradient = jax.value_and_grad(loss)(params, x, y)
    velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradient)
    return value, jax.tree.map(lambda p, v: p - lr * v, params, velocity), velocity


def fresh(seed, sizes=(64, 32, 10)):
    keys = jax.random.split(jax.random.key(seed), len(sizes) - 1)
    params = [
        (jax.random.normal(key, (a, b)) * np.sqrt(2 / a), jnp.zeros(b))
        for key, a, b in zip(keys, sizes, sizes[1:], strict=False)
    ]
    return 0, params, jax.tree.map(jnp.zeros_like, params)


def fit(trial, log, checkpoint):
    data, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(data / 16, labels, random_state=trial.seed)
    step, params, velocity = checkpoint.load() or fresh(trial.seed)
    while step < trial.steps:
        # Which examples a step sees follows from the seed and the step, so that nothing else need be saved.
        batch = np.random.default_rng([trial.seed, step]).choice(len(train_x), trial.batch_size, replace=False)
        value, params, velocity = update(params, velocity, train_x[batch], train_y[batch], trial.lr, trial.momentum)
        step += 1
        if step % 50 == 0:
            log(step, loss=value)
            checkpoint.save((step, params, velocity))
    return {"accuracy": jnp.mean(jnp.argmax(logits(params, test_x), axis=1) == test_y)}


suite = Suite(
    train=fit,
    momentum=[0.0, 0.9],
    lr=0.05,
    batch_size=64,
    steps=200,
    seed=range(12),
    outcomes={"accuracy": Metric(higher_is_better=True, unit="fraction", low=0, high=1)},
    claims=[Claim.better(0.9, than=0.0, by=0.01)],
)
