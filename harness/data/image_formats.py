"""The file formats that MNIST and CIFAR are published in: images as bytes 0..255."""

import gzip
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import DamageError, MachineError

Bytes = NDArray[np.uint8]

IDX_BYTES = 0x08  # what an IDX file says of its numbers: each is one byte
MAX_IMAGE_BYTES = 2**32  # in a file, uncompressed
CIFAR_SHAPE = (3, 32, 32)


def read_idx(path: Path) -> Bytes:
    """The array in an IDX file, gzipped or not (LeCun et al., the MNIST database)."""
    data = _decompress(path)
    dims = data[3] if len(data) > 4 else 0
    if data[:3] != bytes([0, 0, IDX_BYTES]) or not 1 <= dims <= 4 or len(data) < 4 + 4 * dims:
        raise DamageError(f"{path} is no IDX file of bytes; get it again")
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", dims, 4))
    if len(data) - 4 - 4 * dims != math.prod(shape):
        raise DamageError(f"{path} should hold {shape} bytes, and holds {len(data) - 4 - 4 * dims}; get it again")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dims).reshape(shape)


def read_cifar(paths: Sequence[Path]) -> tuple[Bytes, Bytes]:
    """The images "N C H W" and labels in CIFAR-10's binary files: a byte for the label, then three planes of pixels."""
    row = 1 + math.prod(CIFAR_SHAPE)
    parts = []
    for path in paths:
        data = np.frombuffer(_decompress(path), np.uint8)
        if not len(data) or len(data) % row or (data[::row] > 9).any():
            raise DamageError(
                f"{path} is no binary file of CIFAR-10: rows of {row} bytes, a label 0..9 first; get it again"
            )
        parts.append(data.reshape(-1, row))
    rows = np.concatenate(parts)
    return rows[:, 1:].reshape(-1, *CIFAR_SHAPE), rows[:, 0]


def standardise_images(train: Bytes, *others: Bytes) -> list[NDArray[np.float32]]:
    """Images "N C H W" in single precision, each channel less its mean over the training images, over its deviation."""
    # "C 256": how often each value occurs
    counts = np.stack([np.bincount(train[:, c].reshape(-1), minlength=256) for c in range(train.shape[1])])
    shares = counts / counts.sum(1, keepdims=True)
    mean = shares @ np.arange(256)
    std = np.sqrt(np.maximum(shares @ np.arange(256) ** 2 - mean**2, 1e-12))
    standardised = []
    for images in (train, *others):
        x = images.astype(np.float32)
        x -= mean.astype(np.float32)[:, None, None]
        x /= std.astype(np.float32)[:, None, None]
        standardised.append(x)
    return standardised


def _decompress(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MAX_IMAGE_BYTES + 1)
    except (gzip.BadGzipFile, EOFError) as error:
        raise DamageError(f"{path} is damaged ({error}); get it again") from error
    except OSError as error:
        raise MachineError(f"{path} can't be read: {error.strerror or error}") from error
    if len(data) > MAX_IMAGE_BYTES:
        raise DamageError(f"{path} unfolds to more than {MAX_IMAGE_BYTES} bytes")
    return data
