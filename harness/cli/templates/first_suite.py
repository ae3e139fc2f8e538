"""How many points of accuracy does batch norm add to a small net on noisy spirals?"""

# This file is a whole suite: its question (above), its data, its model, a grid of trials, and a claim.
# Run it with:       python -m harness run NAME
# What would run:    python -m harness plan NAME
# Change anything: trials that it changes train again, all others keep their results.

import numpy as np
from torch import nn

from harness import Claim, Suite


def spirals():
    """Your data: x has one row for each example, y one label. They are split into training, validation and test."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 1500)
    radius = rng.uniform(0.2, 1.0, 1500)
    angle = 5.0 * radius + 2 * np.pi / 3 * y + rng.normal(0, 0.15, 1500)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), y


def net(inputs, classes, norm, activation):
    """Your model: any torch module. `norm(channels)` makes the layer that is compared, `activation()` the other one."""
    layers, width = [], inputs[0]
    for _ in range(3):
        layers += [nn.Linear(width, 32), norm(32), activation()]
        width = 32
    return nn.Sequential(*layers, nn.Linear(width, classes))


suite = Suite(
    dataset=spirals,  # or a name such as "digits", or an .npz file beside this one
    model=net,  # or a name such as "mlp-32x3"
    norm=["none", "batch", "layer"],  # a list is an axis: every value is trained
    lr=[0.03, 0.1],
    batch_size=64,
    seed=range(20),  # arms are compared seed by seed: equal data order, equal first weights
    steps=300,
    compare="norm",
    claims=[
        # The report judges each claim: supported, refuted, or undecided. `by` is in fractions: 0.02 are 2 points.
        Claim.better("batch", than="none", by=0.02),
    ],
)
