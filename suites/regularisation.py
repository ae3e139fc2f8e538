"""How much of a regulariser is batch normalisation: is the gap between training and test smaller with it?

A common tutorial calls the noise of its statistics a mild regularisation. A net that has learnt less has a smaller
gap for that reason alone, so the last two claims compare test accuracy at equal training loss: where the loss of the
batches first falls to a level that all nets reach, as a pilot with other seeds showed. The loss is that of training,
with the statistics of its batch. The other claims compare the ends of a long training: the first tells whether the
loss is next to nothing for both there, where labels are right. Small batches make for more noise. A fifth of the
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
    seed=range(32),
    epochs=300,
    eval_every=50,
    claims=[
        Claim.equivalent("batch", to="none", within=0.05, metric="train_loss", label_noise=0.0),
        Claim.less("batch", than="none", metric="generalisation_gap", label_noise=0.0),
        Claim.less("batch", than="none", metric="generalisation_gap", label_noise=0.2),
        Claim.better("batch", than="none", label_noise=0.2),
        Claim.trend("none", than="batch", along="batch_size", label_noise=0.0),
        Claim.more("batch", than="none", metric="test.accuracy", at="batch.loss <= 0.02", label_noise=0.0),
        Claim.more("batch", than="none", metric="test.accuracy", at="batch.loss <= 0.1", label_noise=0.2),
    ],
)
