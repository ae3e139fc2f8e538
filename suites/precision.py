"""Does training in bfloat16 cost accuracy, with a norm and without one, and does float64 gain any?

Kalamkar et al. 2019, "A study of BFLOAT16 for deep learning training", find that nets train in bfloat16 as well as in
float32, with nothing else changed. Theirs have norms, which hold activations to a scale; a deep net without one has
none to hold them. bfloat16 is that of torch.autocast: weights, their updates and the loss stay in float32.
"""

from harness import Claim, Suite

NORMS = ["batch", "layer", "none"]

suite = Suite(
    dataset="digits",
    model="mlp-64x8",
    norm=NORMS,
    precision=["float32", "bfloat16", "float64"],
    compare="precision",
    init="he",
    lr=0.05,
    batch_size=64,
    seed=range(30),
    steps=400,
    claims=[
        *[Claim.equivalent("bfloat16", to="float32", within=0.01, norm=norm) for norm in NORMS],
        Claim.equivalent("float64", to="float32", within=0.01, norm=NORMS),
    ],
)
