"""Do nets on MNIST-1D reach the published accuracies, and what does batch normalisation add?

After Greydanus & Kobak 2024: 4000 signals of 40 numbers to train on and 1000 to test. Their MLP reaches 68 %, their CNN
94 %, trained by Adam at lr 0.01 on batches of 100 for 6000 steps; theirs have no norm. Ours are of their sizes, and not
their very nets (the MLP has no shortcut, the CNN pools where theirs strides), and learn from 3400 of the 4000; the
others validate.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="mnist1d",
    model=["mlp-100x2", "cnn-25x3"],
    norm=["none", "batch", "layer"],
    optimizer="adamw",
    lr=0.01,
    batch_size=100,
    seed=range(30),
    steps=6000,
    eval_every=300,
    claims=[
        Claim.matches("none", published=0.68, within=0.03, model="mlp-100x2"),
        Claim.matches("none", published=0.94, within=0.03, model="cnn-25x3"),
        Claim.better("batch", than="none", model="mlp-100x2"),
        Claim.better("batch", than="none", model="cnn-25x3"),
        Claim.better("batch", than="layer"),
    ],
)
