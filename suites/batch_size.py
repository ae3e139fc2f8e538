"""Does batch normalisation lose to group normalisation when batches are small?

After Wu & He 2018, "Group normalization", in small: on ImageNet the error of a net with batch norm grows from 23.6 % at
32 images a worker to 34.7 % at 2, that with group norm stays at 24.1 %. Here lr follows the batch size, as there. An
MLP at batch size 2 has two values for each statistic; a net of convolutions, as in the paper, has two images of them.

On raw pixels, which are all positive, batch norm leads at batch size 32 by several points: it does in passing what
standardised digits have been through already. One claim is about those.
"""

from harness import Claim, Suite

CNN, MLP = "cnn-8-16", "mlp-64x3"

suite = Suite(
    dataset="digits",
    standardize=True,
    model=[MLP, CNN],
    norm=["batch", "group"],
    batch_size=2,
    lr=0.1 * 2 / 32,
    also=[
        *({"batch_size": size, "lr": 0.1 * size / 32} for size in (4, 8, 16, 32)),
        {"batch_size": 32, "lr": 0.1, "model": MLP, "standardize": False},
    ],
    seed=range(20),
    epochs=5,
    claims=[
        Claim.better("group", than="batch", by=0.05, batch_size=2, model=MLP),
        Claim.better("group", than="batch", batch_size=2, model=CNN),
        Claim.better("batch", than="group", batch_size=32, standardize=True),
        Claim.better("batch", than="group", by=0.03, batch_size=32, standardize=False),
        Claim.trend("batch", than="group", along="batch_size", model=MLP, standardize=True),
        Claim.trend("batch", than="group", along="batch_size", model=CNN),
    ],
)
