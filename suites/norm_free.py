"""Without batch statistics, how far do scaled weights, Dynamic Tanh and adaptive gradient clipping come?

Brock et al. 2021, "High-performance large-scale image recognition without normalization": nets whose weights are
standardised and scaled match batch norm at small batches, and fail at large ones or large learning rates until the
gradient of each unit is held to a share of its weights; then they reach 86.5 % on ImageNet, more than nets with batch
norm did. Zhu et al. 2025 put a learnt tanh in the place of layer norm in transformers, at the same accuracy (82.5 %
against 82.3 % for ViT-B). Here in small: a deep narrow net on digits, a share of 0.1, in place of the suite clipping's
limit for the whole gradient.
"""

from harness import Claim, Suite, log_grid

suite = Suite(
    dataset="digits",
    model="mlp-32x8",
    norm=["batch", "none", "scaled_ws", "dyt"],
    adaptive_clip=[None, 0.1],
    compare="adaptive_clip",
    init="he",
    lr=log_grid(0.01, 10.0, per_decade=2),
    batch_size=64,
    seed=range(30),
    steps=400,
    target_accuracy=0.9,
    claims=[
        Claim.wider_lr_range(0.1, than=None, norm="scaled_ws"),
        Claim.wider_lr_range(0.1, than=None, norm="none"),
        Claim.better(0.1, than=None, by=0.05, norm="scaled_ws", lr=1.0),
        Claim.equivalent(0.1, to=None, within=0.02, norm="scaled_ws", lr=0.1, against={"norm": "batch"}),
        Claim.equivalent(None, to=None, within=0.02, norm="dyt", lr=0.1, against={"norm": "batch"}),
    ],
)
