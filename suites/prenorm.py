"""Does a transformer need warm-up only where its norms stand after the residual sums?

Xiong et al. 2020, "On layer normalization in the transformer architecture": with the layer norm after each sum (post)
the gradients near the output are large at first, and Adam fails without warm-up: on IWSLT14 it comes to 8.45 BLEU at
lr 0.001, and to about 34 with warm-up. With the norm before each branch (pre) the warm-up can be left out, at the
same result. Here in small: a vision transformer of six blocks of 16 channels on digits, Adam, with and without 50
steps of warm-up.
"""

from harness import Claim, Suite, log_grid

suite = Suite(
    dataset="digits",
    model="vit-16x6",
    norm="layer",
    norm_position=["post", "pre"],
    warmup_steps=[0, 50],
    compare="warmup_steps",
    optimizer="adamw",
    lr=log_grid(0.001, 0.01, per_decade=2),
    batch_size=16,
    seed=range(30),
    steps=400,
    eval_every=100,
    claims=[
        Claim.better(50, than=0, by=0.05, norm_position="post", lr=0.00316),
        Claim.equivalent(50, to=0, within=0.05, norm_position="pre", lr=[0.001, 0.00316]),
        Claim.equivalent(50, to=0, within=0.05, norm_position="post", lr=0.001),
    ],
)
