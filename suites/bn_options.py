"""What does each parameter of batch normalisation do to the result: eps, momentum, affine, running statistics?

The parameters of torch.nn.BatchNorm1d, changed one at a time from torch's defaults, and the statistics that evaluation
uses. Every variant is compared with the defaults, seed by seed.
"""

from harness import Claim, Suite


def changed(**to):
    """The variant with these settings, everywhere else as the defaults."""
    return Claim.equivalent("batch", to="batch", within=0.01, against={name: DEFAULTS[name] for name in to}, **to)


DEFAULTS = {
    "norm_eps": 1e-5,
    "norm_momentum": 0.1,
    "norm_affine": True,
    "norm_track_running_stats": True,
    "eval_statistics": "running",
}
VARIANTS = [
    {"norm_eps": 1e-3},
    {"norm_eps": 0.1},
    {"norm_eps": 10.0},
    {"norm_momentum": 0.001},
    {"norm_momentum": 0.01},
    {"norm_momentum": 1.0},
    {"norm_momentum": "cumulative"},
    {"norm_affine": False},
    {"norm_track_running_stats": False},
    {"eval_statistics": "batch"},
    {"eval_statistics": "recalibrated"},
]

suite = Suite(
    dataset="digits",
    model="mlp-64x3",
    norm=["batch", "none"],
    init="he",
    lr=0.1,
    batch_size=32,
    seed=range(36),
    epochs=15,
    **DEFAULTS,
    also=[{"norm": "batch", **variant} for variant in VARIANTS],
    claims=[
        Claim.better("batch", than="none", **DEFAULTS),
        *[changed(**variant) for variant in VARIANTS],
    ],
)
