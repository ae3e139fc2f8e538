"""How far does a net come that learns nothing but the scale and shift of its batch norms?

Frankle et al. 2021, "Training BatchNorm and only BatchNorm": with all other weights at their random beginnings a
ResNet-866 reaches 82 % on CIFAR-10, and training two random weights of each channel instead, as many as batch norm has,
ends well below training its scales and shifts. Here in small: eight hidden layers of 128 units, of 16 000
weights each; the output layer is random, too.
"""

import torch
import torch.nn.functional as F
from torch import nn

from harness import Claim, Suite

WIDTH, DEPTH = 128, 8


class TwoWeightsPerUnit(nn.Module):
    """A linear layer of random weights, of which two for each unit are trained."""

    def __init__(self, inputs, outputs):
        super().__init__()
        weight = torch.randn(outputs, inputs) * (2 / inputs) ** 0.5
        chosen = torch.rand(outputs, inputs).argsort(1)[:, :2]
        self.register_buffer("weight", weight)
        self.register_buffer("chosen", chosen)
        self.change = nn.Parameter(torch.zeros(outputs, 2))

    def forward(self, x):
        return F.linear(x, self.weight + torch.zeros_like(self.weight).scatter(1, self.chosen, self.change))


def random_linear(inputs, outputs):
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return layer


def net(inputs, classes, hidden, norm):
    sizes = [torch.Size(inputs).numel(), *[WIDTH] * DEPTH]
    layers = [nn.Flatten()]
    for size in sizes[:-1]:
        layers += [hidden(size, WIDTH), norm(WIDTH), nn.ReLU()]
    return nn.Sequential(*layers, random_linear(WIDTH, classes))


def freeze(module, kinds):
    for part in module.modules():
        if isinstance(part, kinds):
            part.requires_grad_(False)
    return module


def everything(inputs, classes, norm):
    return net(inputs, classes, random_linear, norm)


def scale_and_shift(inputs, classes, norm):
    return freeze(net(inputs, classes, random_linear, norm), nn.Linear)


def two_weights(inputs, classes, norm):
    return freeze(net(inputs, classes, TwoWeightsPerUnit, norm), (nn.Linear, nn.modules.batchnorm._BatchNorm))


suite = Suite(
    dataset="digits",
    model=[everything, scale_and_shift, two_weights],
    norm="batch",
    compare="model",
    lr=[0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0],
    momentum=0.9,
    batch_size=64,
    seed=range(20, 40),  # the first 20 were seen on a grid that ended at 3
    epochs=30,
    claims=[
        Claim.best_tuned("scale_and_shift", than="two_weights"),
        Claim.best_tuned("everything", than="scale_and_shift"),
    ],
)
