"""What does the momentum of batch normalisation do, and does it do what the momentum of the optimizer does?

Both are called momentum and are different things. That of batch norm moves the running statistics, which training
never reads: it leaves the training loss as it is to the last bit, and decides how far evaluation lags behind the
weights. That of the optimizer moves the weights. The lag is told by running means against those of all training
examples with the weights as they are, and by evaluating with statistics gathered anew.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits",
    model="mlp-64x3",
    norm="batch",
    norm_momentum=[0.001, 0.01, 0.1, 0.5, "cumulative"],
    momentum=[0.0, 0.9],
    init="he",
    lr=0.05,
    batch_size=64,
    steps=[20, 100, 1000],
    seed=range(30),
    compare="norm_momentum",
    eval_statistics=["running", "recalibrated"],
    probes=["running"],
    claims=[
        Claim.equivalent(0.001, to=0.1, within=1e-9, metric="batch.loss"),
        Claim.equivalent("cumulative", to=0.1, within=1e-9, metric="batch.loss"),
        Claim.better(0.1, than=0.001, by=0.05, steps=[20, 100], eval_statistics="running"),
        Claim.equivalent(0.001, to=0.1, within=0.005, steps=[20, 100], eval_statistics="recalibrated"),
        Claim.equivalent(0.01, to=0.1, within=0.01, steps=1000, eval_statistics="running"),
        Claim.more(0.001, than=0.1, metric="probe.running_mean_error/3", steps=[20, 100, 1000]),
    ],
)
