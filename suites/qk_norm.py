"""Does normalising queries and keys widen the range of learning rates at which a transformer trains?

Wortsman et al. 2023, "Small-scale proxies for large-scale transformer training instabilities": the logits of attention
grow at large learning rates until training fails, and a layer norm on queries and keys (Dehghani et al. 2023) prevents
it: language models of 10 million to 1.2 billion parameters then train at lr 0.1 and above, ten times and more what they
stand without, with almost the same loss at the best lr. Here in small: a vision transformer of four blocks of 16
channels on digits, pre-norm, Adam. At the lowest lr a third of the nets still reach the target, which hid the width
of their ranges: so the grid grows.
"""

from harness import Claim, Suite, log_grid

suite = Suite(
    dataset="digits",
    model="vit-16x4",
    norm="layer",
    qk_norm=[True, False],
    compare="qk_norm",
    optimizer="adamw",
    lr=log_grid(0.001, 0.1, per_decade=4, grow=True),
    batch_size=16,
    seed=range(20),
    steps=300,
    eval_every=100,
    target_accuracy=0.7,
    claims=[
        Claim.wider_lr_range(True, than=False, at_least_decades=0.25),
        Claim.best_tuned(True, than=False),
    ],
)
