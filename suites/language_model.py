"""In a small language model, what do its norms add, and are branches that start at zero enough?

Narang et al. 2021, "Do transformer modifications transfer across implementations and applications?", train T5 anew with
many changes: RMS norm (Zhang & Sennrich 2019) ends at about the loss of layer norm, and branches that start at zero
without any norm (ReZero, Bachlechner et al. 2020; here `skipinit`) end at a higher one. Here in small: a causal
pre-norm transformer of four blocks of 16 channels, which learns the next character of the texts that scikit-learn
ships, each norm at its best learning rate. A perplexity of 13 is what such a net comes to in these steps: 0.4 is 3 %.

A pilot with two wider blocks on two seeds came before and chose steps and margins; seeds and depth here are others.

A run on seeds 0 to 19 had learning rates up to 0.03, the best for both nets without norms, so that only a wider grid
could tell; RMS norm ended where layer norm did, and a net without any norm half a unit lower. The grid was widened for
that and the seeds are fresh; the claims are those that were made before anything was seen.
"""

from harness import Claim, Suite

suite = Suite(
    task="sequence",
    dataset="descriptions",
    context=32,
    model="transformer-16x4",
    causal=True,
    norm=["layer", "rms", "skipinit", "none"],
    optimizer="adamw",
    lr=[0.003, 0.01, 0.03, 0.1, 0.3],
    warmup_steps=50,
    schedule="cosine",
    batch_size=16,
    seed=range(20, 50),
    steps=400,
    eval_every=100,
    claims=[
        Claim.equivalent("rms", to="layer", within=0.4, metric="test_perplexity", lr=[0.003, 0.01]),
        Claim.best_tuned("layer", than="skipinit", metric="test_perplexity"),
        Claim.best_tuned("layer", than="none", metric="test_perplexity"),
    ],
)
