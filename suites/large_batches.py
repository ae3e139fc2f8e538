"""Do large batches lose nothing, if the learning rate is scaled with them and warmed up?

Goyal et al. 2017 train ResNet-50 on ImageNet in batches of up to 8192 images to the error of batches of 256, with the
learning rate scaled by as much and warmed up, and without warm-up to a higher one. Hoffer et al. 2017 find what large
batches lose to come from too few updates, and partly made good by ghost batches, whose statistics are those of a small
batch. Here in small: sixteen times the batch at sixteen times the learning rate, for as many epochs, that is for a
sixteenth of the updates.
"""

from harness import Claim, Suite

SMALL, LARGE = {"batch_size": 16, "lr": 0.05}, {"batch_size": 256, "lr": 0.8}
WARM_UP = 30  # updates of 120

suite = Suite(
    dataset="digits",
    model="cnn-16-32",
    norm="batch",
    compare="norm",
    init="he",
    momentum=0.9,
    warmup_steps=0,
    **SMALL,
    also=[
        {**LARGE, "warmup_steps": [0, WARM_UP]},
        {**LARGE, "lr": 0.05},
        {**LARGE, "warmup_steps": WARM_UP, "norm": "ghost_batch", "norm_batch": 16},
    ],
    seed=range(30),
    epochs=40,
    claims=[
        Claim.equivalent(
            "batch", to="batch", within=0.01, **LARGE, warmup_steps=WARM_UP, against={**SMALL, "warmup_steps": 0}
        ),
        Claim.better("batch", than="batch", **LARGE, warmup_steps=WARM_UP, against={"warmup_steps": 0}),
        Claim.better("batch", than="batch", **SMALL, warmup_steps=0, against={"batch_size": 256}),
        Claim.better("ghost_batch", than="batch", **LARGE, warmup_steps=WARM_UP, against={"norm_batch": None}),
    ],
)
