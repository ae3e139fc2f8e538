"""Does synchronised batch normalisation recover what several ranks lose that each normalise over their own examples?

After Wu & Johnson 2021, section 3, in small: the examples and the optimiser's batch are the same for 1, 2 and 4 ranks,
and each of 4 ranks has 2 examples to take statistics from. Evaluated with the running statistics of the first rank.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits",
    model="mlp-64x3",
    norm="batch",
    world_size=[1, 2, 4],
    also=[{"norm": "sync_batch", "world_size": [2, 4]}],
    compare="norm",
    batch_size=8,
    lr=0.05,
    seed=range(20),
    steps=300,
    eval_every=100,
    claims=[
        Claim.better("sync_batch", than="batch", by=0.02, world_size=4),
        Claim.recovers(
            "sync_batch",
            lost_by="batch",
            against={"norm": "batch", "world_size": 1},
            at_least=0.9,
            within=0.01,
            world_size=4,
        ),
        Claim.costs("sync_batch", than="batch", at_most=2.0, world_size=[2, 4]),
    ],
)
