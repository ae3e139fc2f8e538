"""How much of a regulariser is batch normalisation: is the gap between training and test smaller with it?

A common tutorial calls the noise of its statistics a mild regularisation. Both arms train for long, so that the
training loss is next to nothing and the gap is compared at equal training loss: the first claim tells whether it is,
where labels are right. Small batches make for more noise. A fifth of the training labels are wrong in half of the
trials, for a regulariser has more to do there; there no claim tells whether both have learnt all labels by heart, and a
net that has not has a smaller gap for that reason alone.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits",
    model="mlp-128x2",
    norm=["batch", "none"],
    init="he",
    lr=0.1,
    batch_size=[16, 64, 256],
    label_noise=[0.0, 0.2],
    seed=range(30),
    epochs=300,
    claims=[
        Claim.equivalent("batch", to="none", within=0.05, metric="train_loss", label_noise=0.0),
        Claim.less("batch", than="none", metric="generalisation_gap", label_noise=0.0),
        Claim.less("batch", than="none", metric="generalisation_gap", label_noise=0.2),
        Claim.better("batch", than="none", label_noise=0.2),
        Claim.trend("none", than="batch", along="batch_size", label_noise=0.0),
    ],
)
