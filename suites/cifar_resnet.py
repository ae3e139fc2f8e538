"""On CIFAR-10, what do residual and plain deep nets owe to batch normalisation: larger learning rates, more depth?

After Bjorck et al. 2018 (ResNet-110 trains at a thousandfold learning rate with batch norm) and, for residual nets
without a norm, De & Smith 2020 (SkipInit). It needs the images and a large GPU; --only takes a part of it.
"""

from harness import Claim, Suite, log_grid

suite = Suite(
    dataset="cifar10",
    model=["resnet-20", "resnet-110", "vgg-16"],
    norm=["batch", "none", "group", "skipinit"],
    only_if=lambda trial: trial.norm != "skipinit" or trial.model.startswith("resnet"),
    init="he",
    lr=log_grid(1e-3, 1.0, per_decade=2),
    momentum=0.9,
    weight_decay=1e-4,
    schedule="cosine",
    batch_size=128,
    augment="flip+crop",
    seed=range(12),
    epochs=15,
    target_accuracy=0.7,
    claims=[
        Claim.wider_lr_range("batch", than="none", at_least_decades=0.5),
        Claim.best_tuned("batch", than="none", by=0.01),
        Claim.best_tuned("batch", than="group"),
        Claim.best_tuned("skipinit", than="none", model=["resnet-20", "resnet-110"]),
    ],
)
