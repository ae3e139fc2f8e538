"""On real images, what do batch and group normalisation add to a small CNN and a small residual net?

Fashion-MNIST (Xiao et al. 2017), 300 steps on batches of 128: the start of training, where norms differ most. Each arm
is compared at the best of three learning rates, chosen by validation, and at each of them.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="fashion",
    model=["cnn-16-32", "resnet-8x8"],
    norm=["none", "batch", "group"],
    init="he",
    lr=[0.03, 0.1, 0.3],
    batch_size=128,
    seed=range(10),
    steps=300,
    eval_every=100,
    claims=[
        Claim.best_tuned("batch", than="none"),
        Claim.best_tuned("group", than="none"),
        Claim.best_tuned("batch", than="group"),
        Claim.better("batch", than="none", lr=0.3),
    ],
)
