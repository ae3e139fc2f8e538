"""Where each rank has running statistics of its own, does evaluation lose by looking at those of the first rank alone?

DistributedDataParallel evaluates, and saves, what the first rank has gathered; the other ranks' statistics are thrown
away. With few examples a rank they are noisy (Wu & Johnson 2021, section 3, who gather them anew after training). Here
each of 4 ranks normalises over 2 examples: statistics of the first, the mean over all, and gathered anew.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits",
    model="mlp-64x3",
    norm="batch",
    world_size=4,
    ddp_eval_buffers=["rank0", "mean"],
    compare="ddp_eval_buffers",
    also=[{"ddp_eval_buffers": "rank0", "eval_statistics": "recalibrated"}],
    batch_size=8,
    lr=0.05,
    seed=range(12),
    steps=300,
    eval_every=100,
    claims=[
        Claim.better("mean", than="rank0", by=0.01, eval_statistics="running"),
        Claim.better("rank0", than="mean", eval_statistics="recalibrated", against={"eval_statistics": "running"}),
    ],
)
