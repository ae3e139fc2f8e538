"""Does batch normalisation widen the range of learning rates with every optimizer, or only with plain SGD?

Bjorck et al. 2018 found the wider range with SGD, whose step is as long as the gradient, and gradients explode where no
norm keeps activations in bounds. Adam and its kin divide by the size of past gradients, Lion steps by signs (Chen et al.
2023), Muon by orthogonal matrices (Jordan et al. 2024): their steps are as long as lr whatever the gradient is. Adam's eps
is what lets small gradients make small steps again, and is rarely tuned (Choi et al. 2019).
"""

from harness import Claim, Suite, log_grid

OPTIMIZERS = ["sgd", "adam", "nadam", "rmsprop", "adagrad", "lion", "muon"]
LARGE_EPS = {"eps": 1e-3}

suite = Suite(
    dataset="digits",
    model="mlp-64x8",
    norm=["batch", "none"],
    init="he",
    batch_size=64,
    steps=300,
    optimizer=OPTIMIZERS,
    optimizer_args={},
    lr=log_grid(1e-5, 10.0, per_decade=2),
    also=[{"optimizer": "adam", "optimizer_args": LARGE_EPS}],
    seed=range(15),
    target_accuracy=0.9,
    claims=[
        *(
            Claim.wider_lr_range("batch", than="none", at_least_decades=0.5, optimizer=name, optimizer_args="")
            for name in OPTIMIZERS
        ),
        Claim.wider_lr_range("batch", than="none", at_least_decades=0.5, optimizer="adam", optimizer_args="eps=0.001"),
    ],
)
