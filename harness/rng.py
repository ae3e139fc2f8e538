"""Randomness without state: every draw is derived from a seed, a name and a step.

A checkpoint therefore holds no generator, and arms with one seed share every stream that they both use.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

LARGEST_SEED = 2**63 - 1
NUMPY_SEEDS = 2**32


def sub_seed(seed: int, name: str, step: int = 0) -> int:
    """The seed of one stream, as far from that of any other as a hash makes it."""
    digest = hashlib.sha256(f"{seed}/{name}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "little") & LARGEST_SEED


def seed_default_generators(seed: int) -> None:
    """Seed the generators that draws use which name none: those of torch, of numpy and of Python.

    `torch.manual_seed` notes down where it was called from, for CUDA, even where there is none: half of the time that
    a small model takes to be built.
    """
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
    np.random.seed(seed % NUMPY_SEEDS)  # noqa: NPY002 (models draw from it)
    random.seed(seed)


@contextmanager
def preserved_generators() -> Iterator[None]:
    """Put the default generators back to where they stood, at the end of the block."""
    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)


def generator(seed: int, name: str, step: int = 0) -> torch.Generator:
    """A new generator, at the start of one stream."""
    return torch.Generator().manual_seed(sub_seed(seed, name, step))
