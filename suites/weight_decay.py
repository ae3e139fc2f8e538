"""Under batch normalisation, is weight decay a setting of the learning rate and nothing else?

After van Laarhoven 2017 and Arora et al. 2019: a norm makes the loss blind to the scale of the weights before it, so
that weight decay can only raise their effective learning rate, lr/|w|^2. It settles where growth and decay are even:
|w|^4 goes with lr over weight decay, and the effective rate with the root of their product. At four times the lr and a
quarter of the decay the weights should be twice as large and all else the same. The scale and shift of the norms decay
too unless decay_norms is False, which should matter little.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits",
    model="mlp-64x3",
    norm="batch",
    init="he",
    lr=[0.1, 0.4],
    weight_decay=[0.0, 0.0025, 0.01],
    decay_norms=True,
    compare="weight_decay",
    also=[{"lr": 0.1, "decay_norms": False}],
    batch_size=64,
    seed=range(30),
    steps=2000,
    probes=["weights"],
    probe_every=50,
    claims=[
        Claim.more(0.01, than=0.0, metric="probe.effective_lr/2", by_factor=2.0, lr=0.1, decay_norms=True),
        Claim.more(
            0.0025,
            than=0.01,
            metric="probe.weight_norm/2",
            by_factor=1.5,
            lr=0.4,
            decay_norms=True,
            against={"lr": 0.1},
        ),
        Claim.equivalent(0.0025, to=0.01, within=0.01, lr=0.4, decay_norms=True, against={"lr": 0.1}),
        Claim.equivalent(0.01, to=0.01, within=0.01, lr=0.1, decay_norms=False, against={"decay_norms": True}),
    ],
)
