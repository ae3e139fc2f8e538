"""Do gradients grow by a constant factor from layer to layer under batch normalisation, as theory predicts?

After Yang et al. 2019, "A mean field theory of batch normalization". At initialisation, before a single update, the
squared norm of the gradient grows from each layer to the one before it: by pi/(pi-1) = 1.47 with batch norm over large
batches, by more over small ones, and not at all without a norm from He's init. The theory is about nets of infinite
width and depth.
"""

from harness import Claim, Suite, batch_norm_gradient_growth

BATCH_SIZES = [8, 32, 256]

suite = Suite(
    dataset="digits",
    model=["mlp-64x50", "mlp-256x10", "mlp-256x50"],
    norm=["batch", "none"],
    init="he",
    lr=1e-3,
    batch_size=BATCH_SIZES,
    seed=range(20),
    steps=1,
    probes=["gradients"],
    claims=[
        *[
            Claim.matches(
                "batch",
                predicted=batch_norm_gradient_growth(size),
                within=0.1,
                metric="probe.gradient_growth",
                at="first",
                model="mlp-256x50",
                batch_size=size,
            )
            for size in BATCH_SIZES
        ],
        Claim.matches(
            "none", predicted=1.0, within=0.1, metric="probe.gradient_growth", at="first", model="mlp-256x50"
        ),
        Claim.more("batch", than="none", by=0.2, metric="probe.gradient_growth", at="first"),
    ],
)
