"""Is the batch that is normalised over another thing than the batch that the optimiser steps with?

After Wu & Johnson 2021, "Rethinking 'batch' in BatchNorm", and Hoffer et al. 2017, who normalise over parts of a batch
(ghost batches). Here every step sees 64 examples, and statistics are those of 2 to 64 of them.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits",
    model="mlp-64x3",
    norm="ghost_batch",
    norm_batch=[2, 4, 8, 16, 32, 64],
    compare="norm_batch",
    batch_size=64,
    lr=0.1,
    seed=range(30),
    epochs=10,
    claims=[
        Claim.better(64, than=2, by=0.05),
        Claim.better(4, than=2, by=0.05),
        Claim.equivalent(16, to=64, within=0.01),
    ],
)
