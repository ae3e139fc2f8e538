"""With several labels to an example, does batch norm lose to layer norm, and by more in a deeper net?

Klambauer et al. 2017 train fully connected nets of 2 to 32 layers on Tox21, where a molecule has any of twelve labels:
nets with batch norm end several points of AUC below those with layer norm, shallow and deep, and their own
self-normalising nets, which have no norm, above both. Here in small: two handwritten digits, each somewhere on a larger
image, the one over the other as in MultiMNIST (Sabour et al. 2017), and the labels say which are there. F1 is the mean
over the ten labels.
"""

import numpy as np
from sklearn.datasets import load_digits

from harness import Claim, Suite

SIZE, PAIRS = 12, {"train": 6000, "val": 1000, "test": 2000}


def two_digits():
    """Images of 12 x 12 pixels with two digits, 8 x 8 each; those of each split are made of other digits."""
    images, classes = load_digits(return_X_y=True)
    images, rng = images.reshape(-1, 8, 8) / 16, np.random.default_rng(0)
    parts = np.split(rng.permutation(len(images)), [1000, 1250])
    arrays = {}
    for (split, pairs), part in zip(PAIRS.items(), parts, strict=True):
        x, y = np.zeros((pairs, 1, SIZE, SIZE)), np.zeros((pairs, 10))
        for image, labels in zip(x, y, strict=True):
            for digit in rng.choice(part, 2, replace=False):
                row, column = rng.integers(0, SIZE - 8 + 1, 2)
                place = image[0, row : row + 8, column : column + 8]
                np.maximum(place, images[digit], out=place)
                labels[classes[digit]] = 1
        arrays |= {f"x_{split}": x, f"y_{split}": y}
    return arrays


suite = Suite(
    task="multilabel",
    dataset=two_digits,
    standardize=True,
    model=["mlp-128x2", "mlp-128x8"],
    norm=["batch", "layer", "none"],
    init="he",
    optimizer="adamw",
    lr=[0.0003, 0.001, 0.003, 0.01, 0.03],
    schedule="cosine",
    batch_size=64,
    seed=range(20),
    epochs=10,
    claims=[
        Claim.best_tuned("layer", than="batch", metric="test_f1", model="mlp-128x2"),
        Claim.best_tuned("layer", than="batch", metric="test_f1", model="mlp-128x8"),
        Claim.best_tuned("batch", than="none", metric="test_f1", model="mlp-128x8"),
    ],
)
