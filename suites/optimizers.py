"""Does batch normalisation widen the range of learning rates with every optimizer, or only with plain SGD?

Bjorck et al. 2018 found the wider range with SGD, whose step is as long as the gradient, and gradients explode where
no norm keeps activations in bounds. Adam and its kin divide by the size of past gradients, Lion steps by signs (Chen et
al. 2023), Muon by orthogonal matrices (Jordan et al. 2024): their steps are as long as lr whatever the gradient is.
"""

from harness import Claim, Suite, log_grid

OPTIMIZERS = ["sgd", "adam", "nadam", "rmsprop", "adagrad", "lion", "muon"]

suite = Suite(
    dataset="digits",
    model="mlp-32x6",
    norm=["batch", "none"],
    init="he",
    batch_size=64,
    steps=300,
    optimizer=OPTIMIZERS,
    lr=log_grid(1e-5, 10.0, per_decade=2),
    seed=range(12),
    target_accuracy=0.9,
    claims=[Claim.wider_lr_range("batch", than="none", at_least_decades=0.5, optimizer=name) for name in OPTIMIZERS],
)
