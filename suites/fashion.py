"""On real images, what do batch and group normalisation add to a small CNN and a small residual net?

Fashion-MNIST (Xiao et al. 2017), 400 steps on batches of 64: half an epoch, the start of training.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="fashion",
    model=["cnn-8-16", "resnet-8x4"],
    norm=["none", "batch", "group"],
    norm_groups=4,
    init="he",
    lr=0.1,
    batch_size=64,
    seed=range(20),
    steps=400,
    eval_every=200,
    claims=[
        Claim.better("batch", than="none"),
        Claim.better("group", than="none"),
        Claim.better("batch", than="group"),
    ],
)
