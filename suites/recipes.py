"""Does the wider range of learning rates under batch normalisation survive how nets are trained today?

Bjorck et al. 2018 found it with plain SGD, as the suite lr_sweep does. Here the same net and data go through two
recipes: that of Zagoruyko & Komodakis 2016, "Wide residual networks" (Nesterov momentum of 0.9, weight decay, lr times
0.2 after each of a few stages), and AdamW (Loshchilov & Hutter 2019) with a linear warm-up over the first tenth of the
steps and a cosine to zero.
"""

from harness import Claim, Suite, log_grid

STEPS = 400
ADAMW = {
    "optimizer": "adamw",
    "momentum": 0.0,
    "nesterov": False,
    "weight_decay": 0.01,
    "schedule": "cosine",
    "warmup_steps": STEPS // 10,
}

suite = Suite(
    dataset="digits",
    model="mlp-64x8",
    norm=["batch", "none"],
    init="he",
    batch_size=64,
    steps=STEPS,
    optimizer="sgd",
    momentum=0.9,
    nesterov=True,
    weight_decay=5e-4,
    schedule="step",
    decay_every=3 * STEPS // 10,
    decay_factor=0.2,
    lr=log_grid(1e-4, 10.0, per_decade=2),
    also=[ADAMW],
    seed=range(15),
    target_accuracy=0.9,
    claims=[
        Claim.wider_lr_range("batch", than="none", at_least_decades=0.5, optimizer="sgd"),
        Claim.wider_lr_range("batch", than="none", at_least_decades=0.5, optimizer="adamw"),
        Claim.best_tuned("batch", than="none", optimizer="sgd"),
        Claim.best_tuned("batch", than="none", optimizer="adamw"),
    ],
)
