"""Does clipping gradients let a net without batch normalisation train at the learning rates of one with it?

Zhang et al. 2020, "Why gradient clipping accelerates training", show that clipping permits larger steps where the loss
is not smooth, and Brock et al. 2021 train residual nets at large batches without any norm by clipping. Here the norm of
a model's whole gradient is held to 1, the usual limit, in the net of the suite lr_sweep: without a norm it trains at lr
0.1 and fails at 1, with batch norm it trains at both.
"""

from harness import Claim, Suite, log_grid

suite = Suite(
    dataset="digits",
    model="mlp-64x8",
    norm=["batch", "none"],
    max_grad_norm=[None, 1.0],
    compare="max_grad_norm",
    init="he",
    lr=log_grid(0.001, 10.0, per_decade=2),
    batch_size=64,
    seed=range(30),
    steps=400,
    target_accuracy=0.9,
    claims=[
        Claim.wider_lr_range(1.0, than=None, norm="none"),
        Claim.better(1.0, than=None, by=0.05, norm="none", lr=1.0),
        Claim.equivalent(1.0, to=None, within=0.02, norm="none", lr=1.0, against={"norm": "batch"}),
        Claim.equivalent(1.0, to=None, within=0.01, norm="batch", lr=0.1),
    ],
)
