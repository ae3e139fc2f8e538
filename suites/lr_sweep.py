"""How much wider is the range of learning rates that works with batch normalisation?

After Bjorck et al. 2018, "Understanding batch normalization", in small: a plain net of eight hidden layers on digits
trains at small learning rates as well as one with batch norm, and fails at the large ones.
"""

from harness import Claim, Suite, log_grid

suite = Suite(
    dataset="digits",
    model="mlp-64x8",
    norm=["batch", "none"],
    lr=log_grid(3e-3, 3.0, per_decade=4),
    batch_size=64,
    seed=range(30),
    init="he",
    steps=400,
    target_accuracy=0.9,
    claims=[
        Claim.wider_lr_range("batch", than="none", at_least_decades=0.5),
        Claim.equivalent("batch", to="none", within=0.01, lr=[0.0533, 0.0949]),
        Claim.best_tuned("batch", than="none"),
        Claim.better("batch", than="none", by=0.05, lr=[0.3, 0.533, 0.949, 1.69, 3.0]),
    ],
)
