"""Does a net with batch normalisation depend less on the scale of its initial weights?

A common tutorial says so. Here the weights of a deep net are multiplied by factors over four decades, at one learning
rate.
"""

from harness import Claim, Suite, log_grid

suite = Suite(
    dataset="digits",
    model="mlp-64x4",
    norm=["batch", "none"],
    init="he",
    init_scale=log_grid(0.01, 100.0, per_decade=2),
    lr=0.1,
    batch_size=64,
    seed=range(30),
    steps=300,
    claims=[
        Claim.equivalent("batch", to="none", within=0.01, init_scale=1.0),
        Claim.better("batch", than="none", by=0.05, init_scale=[0.01, 0.0316, 0.1, 0.316]),
        Claim.better("batch", than="none", by=0.05, init_scale=[3.16, 10.0, 31.6, 100.0]),
    ],
)
