"""Is the loss smoother along its gradient with batch normalisation?

After Santurkar et al. 2018, figure 4, in small: from each point of training, steps of half to four times the learning
rate down the gradient, and along these the range of the loss, the change of the gradient, and the effective smoothness
(the largest change of the gradient over the length of the step). All of these depend on the scale of the weights, which
batch norm leaves free to grow: the loss of weights twice as large is a quarter as sharp and no different. So there is
the sharpness times the squared norm of the weights too.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits",
    model=["mlp-64x4", "cnn-16-32"],
    norm=["batch", "none"],
    init="he",
    lr=[0.01, 0.1],
    batch_size=64,
    seed=range(20),
    steps=300,
    eval_every=15,
    probes=["landscape", "sharpness"],
    claims=[
        Claim.less("batch", than="none", metric="probe.landscape_loss_range", at="mean"),
        Claim.less("batch", than="none", metric="probe.landscape_gradient_change_max", at="mean"),
        Claim.less("batch", than="none", metric="probe.effective_beta", at="mean"),
        Claim.less("batch", than="none", metric="probe.sharpness", at="last"),
        Claim.less("batch", than="none", metric="probe.relative_sharpness", at="last"),
    ],
)
