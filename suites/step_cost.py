"""What does normalisation cost a training step, by model and batch size?

Each trial trains alone, in short runs whose arms take turns, so that each pair of trials with one seed is a block of
steps measured beside another. Run it with one worker on a quiet machine: `--workers 1`.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits",
    model=["mlp-64x4", "mlp-512x4", "cnn-16-32"],
    norm=["none", "batch", "layer", "group"],
    lr=0.05,
    batch_size=[32, 256],
    seed=range(12),
    init="he",
    steps=60,
    eval_every=60,
    max_cohort_size=1,
    claims=[
        Claim.costs("batch", than="none", at_most=2.0),
        Claim.costs("batch", than="group", at_most=1.1),
        Claim.costs("layer", than="none", at_most=2.0),
    ],
)
