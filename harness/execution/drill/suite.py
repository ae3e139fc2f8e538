"""The suite that the drill runs: seconds long, with snapshots, saved models and two backends."""

SUITE_NAME = "drill"
SUITE_HEARTBEAT_TIMEOUT = 10.0  # seconds after which one of its workers counts as hung
SUITE_TEXT = f'''"""Do results survive every interruption on this machine?"""

import time

from torch import nn

from harness import Suite


class Unhurried(nn.Linear):
    """A layer that no compiled code knows, and that takes its time, so that snapshots are written meanwhile."""

    def forward(self, x):
        time.sleep(0.004)
        return super().forward(x)


def unhurried(classes):
    return nn.Sequential(nn.Flatten(), Unhurried(64, 16), nn.ReLU(), nn.Linear(16, classes))


suite = Suite(
    dataset="digits",
    model="mlp-16x2",
    norm=["batch", "none"],
    lr=0.1,
    batch_size=[32, 64],
    seed=range(2),
    steps=300,
    compare="norm",
    also=[{{"model": unhurried, "norm": "none"}}],
    save_models=True,
    heartbeat_timeout={SUITE_HEARTBEAT_TIMEOUT},
)
'''
