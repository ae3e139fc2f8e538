"""Containers of snapshots and models: MAGIC, a body, and the sha256 of both, so that damage is known.

The body of a snapshot is the length of a JSON header (8 bytes, little endian), the header, and what it is the header
of. Two generations of each are kept, so that a fault during a save costs one interval and not the run. A counter in
the header says which is older: the times of files say nothing where a clock was set back.
"""

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import DamageError
from harness.io import open_regular, parse_object, read_bytes, remove_file, write_atomically

MAGIC = b"harness\x01"
MAX_CONTAINER_BYTES = 64 * 2**30
CHECKSUM_BYTES = 32
LENGTH_BYTES = 8  # of the header's length
GENERATION = "generation"  # in the metadata of a snapshot: how many its cohort has written up to it
MAX_HEADER_BYTES = 2**26  # that are read to learn a snapshot's generation


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


def seal_headed(header: Mapping[str, Any], parts: Iterable[bytes]) -> bytes:
    """A container with a JSON header before these parts."""
    text = json.dumps(header).encode()
    return seal([struct.pack("<Q", len(text)), text, *parts])


def read_headed(path: Path) -> tuple[dict[str, Any], memoryview]:
    """The header of the container at `path`, and what follows it; DamageError where it is none that was written."""
    body = read_container(path)
    try:
        (length,) = struct.unpack("<Q", body[:LENGTH_BYTES])
        header = parse_object(bytes(body[LENGTH_BYTES : LENGTH_BYTES + length]))
    except (ValueError, TypeError, OverflowError, struct.error, RecursionError) as error:
        # The checksum holds, so somebody wrote this on purpose.
        raise DamageError(f"{path} is no snapshot as this project writes it: {error}") from error
    return header, body[LENGTH_BYTES + length :]


def write_generation(folder: Path, cohort: str, dump: Callable[[Mapping[str, int]], bytes]) -> None:
    """Write a snapshot over the older of the two of its cohort; `dump` gets what its metadata say of its age."""
    ages = {path: _generation(path) for path in generations(folder, cohort)}
    write_atomically(min(ages, key=ages.__getitem__), dump({GENERATION: max(ages.values()) + 1}))


def discard(folder: Path, cohort: str) -> None:
    """Remove a cohort's snapshots: all its trials have their records."""
    for path in generations(folder, cohort):
        remove_file(path)


def generations(folder: Path, cohort: str) -> list[Path]:
    """The files of the two snapshots of a cohort, whether they are there or not."""
    return [folder / f"{cohort}.{generation}.snapshot" for generation in "ab"]


def _generation(path: Path) -> int:
    """The number of a snapshot by its header alone, without the checksum: all it decides is which file is replaced.

    0 where there is none, so that a file that can't be read is the first to go.
    """
    try:
        with open_regular(path, max_bytes=MAX_CONTAINER_BYTES) as file:
            file.seek(len(MAGIC))
            (length,) = struct.unpack("<Q", file.read(LENGTH_BYTES))
            header = json.loads(file.read(min(length, MAX_HEADER_BYTES)))
        generation = header["about"][GENERATION]
    except (FileNotFoundError, DamageError, ValueError, KeyError, TypeError, struct.error, RecursionError):
        return 0
    return generation if type(generation) is int and generation > 0 else 0
