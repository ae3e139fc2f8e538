"""Does batch normalisation bring a net of sigmoids to its target sooner, and keep what its last layer sees steadier?

After Ioffe & Szegedy 2015, figure 1, in small: three hidden layers of 100 sigmoid units, small Gaussian weights,
batches of 60. The paper trains at one learning rate; here each arm has the same nine to choose from. What the last
sigmoids see is told by its 15th, 50th and 85th percentile over the units and a batch of training examples.
"""

from harness import Claim, Suite, log_grid

suite = Suite(
    dataset="digits",
    model="mlp-100x3",
    activation="sigmoid",
    norm=["batch", "none"],
    init="normal",
    init_scale=0.1,
    lr=log_grid(0.01, 100.0, per_decade=2),
    batch_size=60,
    seed=range(20),
    steps=1500,
    eval_every=50,
    probes=["activations"],
    target_accuracy=0.9,
    claims=[
        Claim.sooner("batch", than="none", lr=[0.1, 1.0]),
        Claim.best_tuned("batch", than="none"),
        Claim.less("batch", than="none", metric="probe.activation_p50/3", at="range", lr=1.0),
        Claim.less("batch", than="none", metric="probe.activation_p15/3", at="range", lr=1.0),
        Claim.less("batch", than="none", metric="probe.activation_p85/3", at="range", lr=1.0),
    ],
)
