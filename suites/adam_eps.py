"""Does what batch normalisation adds under Adam depend on Adam's eps?

With a small eps the step is as long as lr whatever the gradient is; with a large one it shrinks with the gradient, as
that of SGD with momentum does. Choi et al. 2019, "On empirical comparisons of optimizers", found that eps has to be
tuned for Adam to do as well as that, over many decades.
"""

from harness import Claim, Suite, log_grid

suite = Suite(
    dataset="digits",
    model="mlp-32x6",
    norm=["batch", "none"],
    init="he",
    batch_size=64,
    steps=300,
    optimizer="adam",
    optimizer_args=[{"eps": eps} for eps in (1e-8, 1e-5, 1e-3, 1e-1)],
    lr=log_grid(1e-5, 10.0, per_decade=2),
    seed=range(12),
    target_accuracy=0.9,
    claims=[
        *(
            Claim.wider_lr_range("batch", than="none", at_least_decades=0.5, optimizer_args=f"eps={eps}")
            for eps in (1e-8, 0.1)
        ),
        *(Claim.best_tuned("batch", than="none", optimizer_args=f"eps={eps}") for eps in (1e-8, 0.1)),
    ],
)
