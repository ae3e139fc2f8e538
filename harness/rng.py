"""Randomness without state: every draw is derived from a seed, a name and a step.

A checkpoint therefore holds no generator, and arms with one seed share every stream that they both use.
"""

import hashlib

import torch

LARGEST_SEED = 2**63 - 1


def sub_seed(seed: int, name: str, step: int = 0) -> int:
    """The seed of one stream, as far from that of any other as a hash makes it."""
    digest = hashlib.sha256(f"{seed}/{name}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "little") & LARGEST_SEED


def generator(seed: int, name: str, step: int = 0) -> torch.Generator:
    """A new generator, at the start of one stream."""
    return torch.Generator().manual_seed(sub_seed(seed, name, step))
