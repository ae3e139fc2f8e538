"""Do RMS norm and Dynamic Tanh do what layer norm does in a small vision transformer?

Zhang & Sennrich 2019 leave out the centring of layer norm and find nothing lost, in translation among others. Zhu et
al. 2025, "Transformers without normalization", put a learnt tanh in its place, with all other settings as they were:
ViT-B reaches 82.5 % on ImageNet where layer norm has 82.3 %, while without the tanh training fails. Here in small: four
pre-norm blocks of 16 channels on digits, with the paper's start of 0.5 for the slope of the tanh. Whether a net this
small needs any norm is asked beside it.

A pilot with six blocks on two seeds came before and chose the learning rates; the seeds and the depth here are others.

RMS norm came out at layer norm's mean, but seeds differ by more than the margin. Dynamic Tanh learns more slowly: 400
steps are few, and its slope starts where outputs are small. Without any norm the net learns best at lr 0.01, and fails
at 0.03, where layer and RMS norm still train. The claims were made before that was seen.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits",
    model="vit-16x4",
    norm=["layer", "rms", "dyt", "none"],
    optimizer="adamw",
    lr=[0.003, 0.01, 0.03],
    warmup_steps=50,
    schedule="cosine",
    batch_size=16,
    seed=range(30),
    steps=400,
    eval_every=100,
    claims=[
        Claim.equivalent("rms", to="layer", within=0.02, lr=[0.003, 0.01]),
        Claim.equivalent("dyt", to="layer", within=0.02, lr=[0.003, 0.01]),
        Claim.best_tuned("layer", than="none"),
        Claim.best_tuned("dyt", than="none"),
    ],
)
