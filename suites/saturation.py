"""Does batch normalisation keep the units of deep sigmoid and tanh nets out of saturation, and their gradients alive?

A common tutorial says so. A unit counts as saturated on an example where the slope of its activation is under a tenth
of the steepest. Weights start as Glorot & Bengio 2010 propose, and four times as large.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits",
    model="mlp-64x8",
    activation=["sigmoid", "tanh"],
    norm=["batch", "none"],
    init="xavier",
    init_scale=[1.0, 4.0],
    lr=0.1,
    batch_size=64,
    seed=range(20),
    steps=400,
    probes=["activations", "gradients"],
    claims=[
        Claim.less("batch", than="none", metric="probe.saturated/8", at="mean", init_scale=4.0),
        Claim.less("batch", than="none", metric="probe.saturated/1", at="mean", init_scale=4.0),
        Claim.more("batch", than="none", metric="probe.gradient_norm/1", at="first", by_factor=10.0),
        Claim.more("batch", than="none", metric="probe.gradient_norm/1", at="mean", by_factor=2.0),
        Claim.better("batch", than="none", by=0.05),
    ],
)
