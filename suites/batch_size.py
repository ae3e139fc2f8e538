"""Does batch normalisation lose to group normalisation when batches are small?

After Wu & He 2018, "Group normalization", in small: on ImageNet the error of a net with batch norm grows from 23.6 % at
32 images a worker to 34.7 % at 2, that with group norm stays at 24.1 %. Here lr follows the batch size, as there.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits",
    model="mlp-64x3",
    norm=["batch", "group"],
    batch_size=2,
    lr=0.1 * 2 / 32,
    also=[{"batch_size": size, "lr": 0.1 * size / 32} for size in (4, 8, 16, 32)],
    seed=range(10),
    epochs=5,
    claims=[
        Claim.better("group", than="batch", by=0.05, batch_size=2),
        Claim.better("batch", than="group", batch_size=32),
        Claim.trend("batch", than="group", along="batch_size"),
    ],
)
