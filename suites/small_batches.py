"""On small batches, do batch renormalisation and norms without a batch hold what batch norm loses?

Ioffe 2017 trains Inception-v3 in micro-batches of 4 images to 74.2 % with batch norm and to 76.5 % with batch
renormalisation, where batches of 32 give 78.3 %. Singh & Krishnan 2020 have filter response norm 0.7 to 1 points above
batch norm at large batches, and over 1 point above group norm at small ones, on ImageNet; EvoNorm-S0 (Liu et al. 2020)
is likewise of each example alone. Here in small: three convolutions on digits, each norm at its best learning rate. The
bounds of r and d are reached after 400 and 250 steps: that is in the first epoch at batch size 2, and beyond the end at
32, where batch renormalisation is little more than batch norm.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits",
    model="cnn-16x3",
    norm=["batch", "batch_renorm", "frn", "evonorm_s0", "group"],
    norm_groups=4,
    renorm_warmup=50,
    init="he",
    batch_size=[2, 8, 32],
    lr=[0.003, 0.01, 0.03, 0.1, 0.3, 1.0],
    seed=range(30),
    epochs=5,
    claims=[
        Claim.best_tuned("batch_renorm", than="batch", batch_size=2),
        Claim.best_tuned("frn", than="batch", batch_size=2),
        Claim.best_tuned("frn", than="group", batch_size=2),
        Claim.best_tuned("evonorm_s0", than="group", batch_size=2),
        Claim.best_tuned("frn", than="batch", batch_size=32),
        Claim.equivalent(
            "batch_renorm", to="batch", within=0.01, batch_size=2, lr=0.03, against={"batch_size": 32, "lr": 0.3}
        ),
    ],
)
