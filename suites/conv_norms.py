"""In a convolutional net, how do batch, group, layer and instance norm rank, and what does weight standardisation add?

Wu & He 2018 have on ImageNet, at 32 images a worker: batch before group before layer before instance norm (errors of
23.6, 24.1, 25.3 and 28.4 %). Qiao et al. 2019 standardise the weights of each convolution as well: it helps both batch
and group norm, and with the latter micro-batches reach what batch norm does with large ones. In small: a net of three
convolutions on digits, lr following the batch size.
"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits",
    model="cnn-16x3",
    norm=["batch", "group", "layer", "instance", "ws_batch", "ws_group"],
    norm_groups=4,
    init="he",
    batch_size=32,
    lr=0.1,
    also=[{"batch_size": 2, "lr": 0.1 * 2 / 32}],
    seed=range(30),
    epochs=5,
    claims=[
        Claim.better("batch", than="group", batch_size=32),
        Claim.better("group", than="layer", batch_size=32),
        Claim.better("layer", than="instance", batch_size=32),
        Claim.better("ws_batch", than="batch", batch_size=32),
        Claim.better("ws_group", than="group", batch_size=[2, 32]),
        Claim.equivalent("ws_group", to="batch", within=0.01, batch_size=2, against={"batch_size": 32}),
    ],
)
