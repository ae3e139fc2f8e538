"""Does batch normalisation help a small net to tell two rings of points apart, and at which learning rates?

The setting of a common tutorial: two noisy rings, a net of two hidden layers, full batches, 500 epochs at lr 0.1. There
both nets end near the same accuracy, and one run of each can't tell them apart. Ten seeds and a grid of learning
rates can.
"""

from harness import Claim, Suite, log_grid

suite = Suite(
    dataset="circles",
    model="mlp-64-32",
    norm=["batch", "none"],
    lr=log_grid(1e-4, 100.0, per_decade=2),
    batch_size=1400,
    seed=range(30),
    steps=500,
    eval_every=5,
    target_accuracy=0.98,
    claims=[
        Claim.equivalent("batch", to="none", within=0.005, lr=0.1),
        Claim.sooner("batch", than="none", lr=0.1),
        Claim.wider_lr_range("batch", than="none", at_least_decades=0.5),
    ],
)
