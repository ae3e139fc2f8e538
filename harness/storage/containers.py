"""Containers of snapshots and models: MAGIC, a body, and the sha256 of both, so that damage is known."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from harness.errors import DamageError
from harness.io import read_bytes

MAGIC = b"harness\x01"
MAX_CONTAINER_BYTES = 64 * 2**30
CHECKSUM_BYTES = 32


def seal(parts: Iterable[bytes]) -> bytes:
    """A container whose body is these parts, one after the other."""
    content = b"".join([MAGIC, *parts])
    return content + hashlib.sha256(content).digest()


def read_container(path: Path) -> memoryview:
    """The body of the container at `path`; DamageError where a bit of it is not what was written."""
    return memoryview(read_sealed(path))[len(MAGIC) : -CHECKSUM_BYTES]


def read_sealed(path: Path) -> bytes:
    """The whole container at `path`, as `seal` has made it; DamageError where a bit of it is not what was written."""
    data = read_bytes(path, max_bytes=MAX_CONTAINER_BYTES)
    content, checksum = memoryview(data)[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if content[: len(MAGIC)] != MAGIC or hashlib.sha256(content).digest() != checksum:
        raise DamageError(f"{path} is damaged, or no snapshot: its checksum does not hold")
    return data
