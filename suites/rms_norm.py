"""Is RMS norm as good as layer norm in a residual net, and is a step with it cheaper?

Zhang & Sennrich 2019 leave out the centring of layer norm: as good, they find, and 7 to 64 % faster. Accuracy is that
of a net of eight residual blocks. Time is taken of short runs in which each trial trains alone, as in the suite
step_cost; run it with one worker on a quiet machine.
"""

from harness import Claim, Suite

TIMED = {"together": 1, "steps": 60, "eval_every": 60}

suite = Suite(
    dataset="digits",
    model="resmlp-64x8",
    norm=["rms", "layer", "none"],
    init="he",
    lr=0.05,
    batch_size=64,
    seed=range(25),
    steps=400,
    also=[TIMED],
    claims=[
        Claim.equivalent("rms", to="layer", within=0.01, steps=400),
        Claim.better("rms", than="none", steps=400),
        Claim.costs("rms", than="layer", at_most=1.0, steps=60),
    ],
)
