"""Without batch norm, do the examples become alike in the deep layers of a net with random weights?

Daneshmand et al. 2020: at initialisation the rank of what the hidden layers hold collapses to 1 with depth in nets
without a norm, linear and rectified, so that training starts from outputs which do not depend on the input; with batch
norm it stays at about the root of the width at any depth. Measured before the first update, by the effective rank that
bounds the rank from below, over a batch of as many examples as a layer has units. Layer norm, which the paper leaves
out, looks at each example by itself. The one update that follows trains no net.
"""

from harness import Claim, Suite

DEPTHS = [8, 32, 128]
LAST = "probe.activation_rank/{}"

suite = Suite(
    dataset="digits",
    model=[f"mlp-64x{depth}" for depth in DEPTHS],
    norm=["batch", "layer", "none"],
    init="he",
    lr=1e-3,
    batch_size=64,
    seed=range(20),
    steps=1,
    probes=["rank"],
    claims=[
        *[
            Claim.more(
                "batch", than="none", by_factor=2.0, metric=LAST.format(depth), at="first", model=f"mlp-64x{depth}"
            )
            for depth in DEPTHS
        ],
        Claim.more("batch", than="layer", by_factor=2.0, metric=LAST.format(128), at="first", model="mlp-64x128"),
        Claim.equivalent("none", to="layer", within=0.5, metric=LAST.format(128), at="first", model="mlp-64x128"),
    ],
)
