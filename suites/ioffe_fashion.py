"""Does batch normalisation bring a net of sigmoids to its target sooner on real images?

The net and the question of the suite ioffe (Ioffe & Szegedy 2015, figure 1) on Fashion-MNIST in the place of digits, as
the paper has MNIST: three hidden layers of 100 sigmoid units, small Gaussian weights, batches of 60.
"""

from harness import Claim, Suite, log_grid

suite = Suite(
    dataset="fashion",
    model="mlp-100x3",
    activation="sigmoid",
    norm=["batch", "none"],
    init="normal",
    init_scale=0.1,
    lr=log_grid(0.03, 3.0, per_decade=2),
    batch_size=60,
    seed=range(20),
    steps=3000,
    eval_every=250,
    probes=["activations"],
    target_accuracy=0.8,
    claims=[
        Claim.sooner("batch", than="none", lr=[0.3, 3.0]),
        Claim.best_tuned("batch", than="none"),
        Claim.less("batch", than="none", metric="probe.activation_p50/3", at="range", lr=0.3),
    ],
)
