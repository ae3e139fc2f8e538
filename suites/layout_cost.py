"""Does what normalisation costs a training step depend on how images lie in memory, and is RMS norm the cheaper one?

torch's guide to tuning advises channels_last for convolutions; a norm that takes its statistics over the channels of
one image then reads memory in another order than batch norm does. Zhang & Sennrich 2019 have RMS norm 7 to 64 % faster
than layer norm. Each trial trains alone, as in the suite step_cost: run it with one worker on a quiet machine.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits",
    model="cnn-16-32",
    norm=["none", "batch", "layer", "rms"],
    memory_format=["contiguous", "channels_last"],
    init="he",
    lr=0.05,
    batch_size=64,
    seed=range(15),
    steps=60,
    eval_every=60,
    max_cohort_size=1,
    claims=[
        Claim.costs("batch", than="none", at_most=2.0, memory_format="contiguous"),
        Claim.costs("batch", than="none", at_most=2.0, memory_format="channels_last"),
        Claim.costs("layer", than="batch", at_most=1.1, memory_format="channels_last"),
        Claim.costs("rms", than="layer", at_most=1.0),
    ],
)
