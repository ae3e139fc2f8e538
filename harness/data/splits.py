"""Examples split in two, the share of each class kept: bit for bit as scikit-learn does it.

It would take a second to load, with pandas and scipy, before the first trial can train.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def train_test_indices(labels: NDArray[Any], test_share: float, seed: int) -> tuple[Indices, Indices]:
    """Which examples train and which test; ValueError, as scikit-learn has it, where they can't be split."""
    if not _is_regular(labels, test_share):
        from sklearn.model_selection import train_test_split as split

        train, test = split(np.arange(len(labels)), test_size=test_share, random_state=seed, stratify=labels)
        return train, test
    return stratified_indices(labels, test_share, seed)


def _is_regular(y: NDArray[Any], test_share: float) -> bool:
    """Whether each class has enough examples for both parts."""
    if not len(y) or y.dtype.kind not in "biu":
        return False
    n_test, counts = math.ceil(test_share * len(y)), np.unique(y, return_counts=True)[1]
    return bool(counts.min() >= 2) and len(counts) <= n_test <= len(y) - len(counts)


def stratified_indices(labels: NDArray[Any], test_share: float, seed: int) -> tuple[Indices, Indices]:
    """Which examples are for training and which for testing."""
    n_test = math.ceil(test_share * len(labels))
    _, class_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    by_class = np.split(np.argsort(class_of, kind="stable"), np.cumsum(counts)[:-1])
    rng = generator(seed)
    n_train_of = _draws_of_classes(counts, len(labels) - n_test, rng)
    n_test_of = _draws_of_classes(counts - n_train_of, n_test, rng)
    train, test = [], []
    for examples, n_first, n_second in zip(by_class, n_train_of, n_test_of, strict=True):
        shuffled = examples[rng.permutation(len(examples))]
        train.append(shuffled[:n_first])
        test.append(shuffled[n_first : n_first + n_second])
    return rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(test))


def _draws_of_classes(counts: Indices, draws: int, rng: np.random.RandomState) -> Indices:
    """How many of each class are drawn: its share rounded down, and one more where the rest is largest."""
    shares = counts / counts.sum() * draws
    drawn = np.floor(shares)
    missing = int(draws - drawn.sum())
    rests = shares - drawn
    for rest in np.unique(rests)[::-1]:
        if missing <= 0:
            break
        (with_rest,) = np.where(rests == rest)
        chosen = rng.choice(with_rest, size=min(len(with_rest), missing), replace=False)
        drawn[chosen] += 1
        missing -= len(chosen)
    numbers: Indices = drawn.astype(np.int64)
    return numbers


def shuffled_indices(examples: int, test_share: float, seed: int) -> tuple[Indices, Indices]:
    """Which of so many examples are for training and which for testing, whatever their classes."""
    n_test, order = math.ceil(test_share * examples), generator(seed).permutation(examples)
    return np.asarray(order[n_test:]), np.asarray(order[:n_test])


def generator(seed: int) -> np.random.RandomState:
    """The generator of scikit-learn."""
    return np.random.RandomState(seed)
