"""Batch normalisation in a few lines of numpy, held against torch.nn.BatchNorm1d.

Ioffe & Szegedy 2015, algorithm 1. In training each feature loses the mean of the batch and is divided by its deviation;
in evaluation the running averages of training stand in for both, so that an example's answer does not depend on the
others. `momentum` is the share of the newest batch in these averages, and no momentum of an optimizer.
"""

import numpy as np
import torch

EPS, MOMENTUM = 1e-5, 0.1
TOLERANCE = 1e-6


def train(x, scale, shift, running_mean, running_var):
    """The batch "N C" normalised by its own statistics, and the running averages after it."""
    mean, var = x.mean(0), x.var(0)
    out = scale * (x - mean) / np.sqrt(var + EPS) + shift
    # The average keeps the unbiased variance, over N - 1, though the batch is divided by the biased one.
    running_mean = (1 - MOMENTUM) * running_mean + MOMENTUM * mean
    running_var = (1 - MOMENTUM) * running_var + MOMENTUM * x.var(0, ddof=1)
    return out, running_mean, running_var


def evaluate(x, scale, shift, running_mean, running_var):
    """Examples "N C" normalised by the running averages: each by itself, so a batch of one will do."""
    return scale * (x - running_mean) / np.sqrt(running_var + EPS) + shift


def gradient(x, scale, out_grad):
    """The gradient of the batch: it loses its mean and what is in line with the output, for every example counts."""
    centred = x - x.mean(0)
    deviation = np.sqrt(x.var(0) + EPS)
    normalised = centred / deviation
    return scale / deviation * (out_grad - out_grad.mean(0) - normalised * (out_grad * normalised).mean(0))


def sgd_momentum(gradients, momentum):
    """The other momentum, of SGD: a sum of gradients in which older ones fade. Its steps can be longer than any one."""
    velocity = 0.0
    for g in gradients:
        velocity = momentum * velocity + g
    return velocity


def compare(name, ours, theirs):
    difference = np.abs(np.asarray(ours) - np.asarray(theirs)).max()
    print(f"{name:<34} {'agrees' if difference < TOLERANCE else 'DIFFERS'}: largest difference {difference:.1e}")
    return difference < TOLERANCE


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    scale, shift = rng.uniform(0.5, 2, 4), rng.normal(size=4)
    mean, var = np.zeros(4), np.ones(4)
    layer = torch.nn.BatchNorm1d(4, eps=EPS, momentum=MOMENTUM, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(scale))
        layer.bias.copy_(torch.tensor(shift))
    good = []
    for _ in range(50):  # batches of 32, whose features are far from mean 0 and deviation 1
        x = rng.normal(loc=3, scale=5, size=(32, 4))
        ours, mean, var = train(x, scale, shift, mean, var)
        batch = torch.tensor(x, requires_grad=True)
        theirs = layer(batch)
    good.append(compare("a batch in training", ours, theirs.detach()))
    good.append(compare("running mean after 50 batches", mean, layer.running_mean))
    good.append(compare("running variance after 50 batches", var, layer.running_var))
    out_grad = rng.normal(size=x.shape)
    theirs.backward(torch.tensor(out_grad))
    good.append(compare("the gradient of that batch", gradient(x, scale, out_grad), batch.grad))
    layer.eval()
    one = x[:1]
    theirs = layer(torch.tensor(one)).detach()
    good.append(compare("one example in evaluation", evaluate(one, scale, shift, mean, var), theirs))

    print(f"\nmomentum={MOMENTUM} of batch norm: an average, of which the newest batch is {MOMENTUM:.0%}:", end=" ")
    print(f"after 50 batches of mean 3 it is {mean.mean():.2f}")
    print(f"momentum=0.9 of SGD: a sum; 50 gradients of 1 make a step of {sgd_momentum([1.0] * 50, 0.9):.2f} times lr")
    raise SystemExit(0 if all(good) else 1)
