"""Is the second version of a training loop of one's own better than the first?

Both versions are functions that one may have in two branches or two files; the harness trains each with the same seeds.
"""

import numpy as np

from harness import Claim, Metric, Suite


def first(x, y, steps, lr, rng):
    """Plain steps on one example at a time."""
    weights = np.zeros(x.shape[1])
    for _ in range(steps):
        i = rng.integers(len(x))
        weights -= lr * (x[i] @ weights - y[i]) * x[i]
        yield weights


def second(x, y, steps, lr, rng):
    """The same with the mean of all weights so far, as Polyak has it."""
    mean = np.zeros(x.shape[1])
    for step, weights in enumerate(first(x, y, steps, lr, rng), start=1):
        mean += (weights - mean) / step
        yield mean


def train(trial, log, checkpoint):
    del checkpoint  # it is over in no time
    rng = np.random.default_rng(trial.seed)
    x = rng.normal(size=(200, 8))
    truth = rng.normal(size=8)
    y = x @ truth + rng.normal(size=200)
    version = {"first": first, "second": second}[trial.variant]
    for step, weights in enumerate(version(x, y, trial.steps, trial.lr, rng), start=1):
        if step % 100 == 0:
            log(step, distance=np.linalg.norm(weights - truth))
    return {"distance": np.linalg.norm(weights - truth)}


suite = Suite(
    train=train,
    variant=["first", "second"],
    lr=0.02,
    steps=1000,
    seed=range(20),
    outcomes={"distance": Metric(higher_is_better=False, low=0)},
    claims=[Claim.better("second", than="first")],
)
