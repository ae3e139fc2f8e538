"""Is a batch whose gradients are accumulated over parts still a large batch, where nets have batch normalisation?

Where each example is normalised by itself, parts give the gradient of the whole. Batch norm takes its statistics from
each part, so that accumulation leaves it with the small batches that it was meant to avoid (Wu & Johnson 2021, section
3; Hoffer et al. 2017). Every update sees 64 examples, in up to 32 parts; ghost batch norm over 2 of the 64 shows what
parts of 2 should lose.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits",
    model="mlp-64x3",
    norm=["batch", "layer"],
    accumulation_steps=[1, 4, 16, 32],
    compare="accumulation_steps",
    also=[{"norm": "ghost_batch", "norm_batch": 2, "accumulation_steps": 1}],
    batch_size=64,
    lr=0.1,
    seed=range(30),
    epochs=10,
    claims=[
        Claim.equivalent(32, to=1, within=0.005, norm="layer"),
        Claim.equivalent(4, to=1, within=0.01, norm="batch"),
        Claim.better(1, than=32, by=0.05, norm="batch"),
        Claim.equivalent(32, to=1, within=0.02, norm="batch", against={"norm": "ghost_batch"}),
    ],
)
