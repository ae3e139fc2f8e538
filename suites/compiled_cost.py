"""How much of what normalisation costs a training step is left when torch.compile fuses it?

A norm computes little and moves all activations through memory, some of which a compiler saves by fusing it with what
stands before and behind (Ansel et al. 2024, "PyTorch 2"). Convolutions run with images in both layouts of memory, as
torch's own guide to tuning advises channels_last. RMS norm should be cheaper than layer norm (Zhang & Sennrich 2019: by
7 to 64 %). Each trial trains alone, as in the suite step_cost; torch.compile needs a C++ compiler. Run it with one
worker on a quiet machine.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits",
    model=["mlp-512x4", "cnn-16-32"],
    norm=["none", "batch", "layer", "rms"],
    compile=[False, True],
    memory_format=["contiguous", "channels_last"],
    only_if=lambda trial: trial.memory_format == "contiguous" or trial.model.startswith("cnn"),
    init="he",
    lr=0.05,
    batch_size=256,
    seed=range(12),
    steps=60,
    eval_every=60,
    together=1,
    claims=[
        Claim.costs("batch", than="none", at_most=1.5, compile=True),
        Claim.costs("layer", than="none", at_most=1.5, compile=True),
        Claim.costs("batch", than="none", at_most=2.0, compile=False),
        Claim.costs("rms", than="layer", at_most=1.0),
    ],
)
