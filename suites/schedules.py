"""Does what batch normalisation adds depend on how the learning rate falls?

Its gain is told at a constant rate, or at stages as in Ioffe & Szegedy 2015. Small steps at the end let a net without
it settle too, and a cycle is said to reach rates that no constant one bears (Smith & Topin 2018). Each schedule begins
with the same warm-up; inverse_sqrt is that of Vaswani et al. 2017.
"""

from harness import Claim, Suite, log_grid

STEPS = 300
SCHEDULES = ["constant", "linear", "exponential", "cosine", "one_cycle", "inverse_sqrt"]

suite = Suite(
    dataset="digits",
    model="mlp-32x6",
    norm=["batch", "none"],
    init="he",
    batch_size=64,
    steps=STEPS,
    momentum=0.9,
    schedule=SCHEDULES,
    warmup_steps=STEPS // 10,
    decay_factor=0.01,
    lr=log_grid(1e-3, 10.0, per_decade=2),
    seed=range(12),
    target_accuracy=0.9,
    claims=[
        *(Claim.wider_lr_range("batch", than="none", at_least_decades=0.5, schedule=name) for name in SCHEDULES),
        *(Claim.best_tuned("batch", than="none", schedule=name) for name in ("constant", "linear", "one_cycle")),
    ],
)
