"""Does layer norm do better than batch norm in a training loop of one's own?

The loop is plain PyTorch. What is seeded beforehand (torch's default generator) draws weights and batches, and is kept
with what `checkpoint.save` is given: a trial that was killed goes on to the same bits.
"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from harness import Claim, Metric, Suite


def data(seed, count=1000):
    x = torch.randn(count, 20, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] * x[:, 1] + x[:, 2] > 0).long()


def fit(trial, log, checkpoint):
    norm = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}[trial.norm]
    model = nn.Sequential(nn.Linear(20, 32), norm(32), nn.ReLU(), nn.Linear(32, 2)).to(trial.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=trial.lr, momentum=0.9)
    step = 0
    if (state := checkpoint.load()) is not None:
        step, weights, moments = state
        model.load_state_dict(weights)
        optimizer.load_state_dict(moments)
    x, y = (tensor.to(trial.device) for tensor in data(trial.seed))
    while step < trial.steps:
        batch = torch.randint(len(x), (64,))
        loss = cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 50 == 0:
            log(step, loss=loss)
            checkpoint.save((step, model.state_dict(), optimizer.state_dict()))
    x, y = (tensor.to(trial.device) for tensor in data(trial.seed + 1000))
    return {"accuracy": (model.eval()(x).argmax(1) == y).float().mean()}


suite = Suite(
    train=fit,
    norm=["batch", "layer"],
    lr=0.1,
    steps=300,
    seed=range(12),
    outcomes={"accuracy": Metric(higher_is_better=True, unit="fraction", low=0, high=1)},
    claims=[Claim.better("layer", than="batch", by=0.01)],
)
