"""Do nets on MNIST-1D reach the published accuracies, and what does batch normalisation add?

After Greydanus & Kobak 2024: 4000 signals of 40 numbers to train on and 1000 to test; others of the same make validate
here. Their MLP, whose second layer is a residual one, reaches 68 %, their CNN 94 %, trained by Adam at lr 0.01 on
batches of 100 for 6000 steps. `paper_mlp` and `paper_cnn` are their nets, without a norm as there and with one before
each ReLU; accuracies are those of the last step. At a constant rate of Adam the weights of the last steps move far, and
running statistics trail behind: hence the arm whose statistics are gathered again before each evaluation.
"""

from torch import nn

from harness import Claim, Suite


class Residual(nn.Module):
    """What goes in and what a block makes of it, added up."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return x + self.block(x)


def paper_mlp(classes, norm):
    hidden = nn.Sequential(nn.Linear(100, 100), norm(100), nn.ReLU())
    return nn.Sequential(
        nn.Flatten(), nn.Linear(40, 100), norm(100), nn.ReLU(), Residual(hidden), nn.Linear(100, classes)
    )


def paper_cnn(classes, norm):
    layers = []
    for channels, size in ((1, 5), (25, 3), (25, 3)):
        layers += [nn.Conv1d(channels, 25, size, stride=2, padding=1), norm(25, spatial_dims=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(125, classes))


suite = Suite(
    dataset="mnist1d",
    model=[paper_mlp, paper_cnn],
    norm=["none", "batch", "layer"],
    optimizer="adam",
    lr=0.01,
    batch_size=100,
    eval_statistics="running",
    also=[{"norm": "batch", "model": paper_cnn, "eval_statistics": "recalibrated"}],
    seed=range(30),
    steps=6000,
    eval_every=300,
    claims=[
        Claim.matches("none", published=0.68, within=0.03, model="paper_mlp"),
        Claim.matches("none", published=0.94, within=0.03, model="paper_cnn"),
        Claim.better("batch", than="none", model="paper_mlp"),
        Claim.better("batch", than="none", model="paper_cnn", eval_statistics="running"),
        Claim.better(
            "batch",
            than="batch",
            model="paper_cnn",
            eval_statistics="recalibrated",
            against={"eval_statistics": "running"},
        ),
        Claim.better("batch", than="layer", eval_statistics="running"),
    ],
)
