"""How much faster do trials train as one program, and does fusing change what they learn?

The same trials alone, and in cohorts of up to 8 and 32 models. A cohort is one measurement of time, however many
trials it holds: the seeds are as many as eight cohorts of 32 need.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="circles",
    model="mlp-64-32",
    norm=["none", "batch"],
    lr=0.1,
    batch_size=32,
    seed=range(256),
    steps=86,
    eval_every=43,
    max_cohort_size=[1, 8, 32],
    compare="max_cohort_size",
    claims=[
        Claim.costs(32, than=1, at_most=0.1),
        Claim.costs(8, than=1, at_most=0.4),
        Claim.equivalent(32, to=1, within=0.002),
        Claim.equivalent(8, to=32, within=0.002),
    ],
)
