"""Is RMS norm as good as layer norm in a residual net?

Zhang & Sennrich 2019 leave out the centring of layer norm and find nothing lost. Here in a net of eight residual blocks
on digits; one without a norm tells whether a norm is needed at all. What a step costs is asked by the suite
layout_cost.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits",
    model="resmlp-64x8",
    norm=["rms", "layer", "none"],
    init="he",
    lr=0.05,
    batch_size=64,
    seed=range(30),
    steps=400,
    claims=[
        Claim.equivalent("rms", to="layer", within=0.01),
        Claim.better("rms", than="none"),
    ],
)
