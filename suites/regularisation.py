"""How much of a regulariser is batch normalisation: is the gap between training and test smaller with it?

A common tutorial calls the noise of its statistics a mild regularisation. Both arms train until the training loss is
next to nothing, so that the gap is compared at equal training loss; small batches make for more noise. A fifth of the
training labels are wrong in half of the trials, for a regulariser has more to do there.
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
    seed=range(10),
    epochs=300,
    claims=[
        Claim.equivalent("batch", to="none", within=0.05, metric="train_loss", label_noise=0.0),
        Claim.less("batch", than="none", metric="generalisation_gap", label_noise=0.0),
        Claim.less("batch", than="none", metric="generalisation_gap", label_noise=0.2),
        Claim.better("batch", than="none", label_noise=0.2),
        Claim.trend("none", than="batch", along="batch_size", label_noise=0.0),
    ],
)
