"""Snapshots to go on from: tensors and a step, in a container without pickle that knows when it is damaged.

The body of a container (storage/containers.py) is the length of a JSON header (8 bytes, little endian), the header, and
the tensors' bytes. Two generations are kept, so that a fault during a save costs one interval and not the run. A
counter in the header says which is older: the times of files say nothing where a clock was set back.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from torch import Tensor

from harness.errors import DamageError
from harness.io import open_regular, parse_object, remove_file, write_atomically
from harness.nn.tensor_bytes import DTYPES, from_bytes, to_bytes
from harness.storage.containers import MAGIC, MAX_CONTAINER_BYTES, read_container, seal
from harness.typed import fits

LENGTH_BYTES = 8  # of the header's length
GENERATION = "generation"  # in the metadata of a snapshot: how many its cohort has written up to it
MAX_HEADER_BYTES = 2**26  # that are read to learn a snapshot's generation


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Tensors, and what they are: of a cohort in training, its id, its environment and the steps done."""

    metadata: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def dump(snapshot: Snapshot) -> bytes:
    """The snapshot as a container."""
    layout, chunks, offset = [], [], 0
    for name, tensor in snapshot.tensors.items():
        data = to_bytes(tensor)
        layout.append({"name": name, "dtype": str(tensor.dtype), "shape": list(tensor.shape), "offset": offset})
        chunks.append(data)
        offset += len(data)
    header = json.dumps({"about": dict(snapshot.metadata), "tensors": layout}).encode()
    return seal([struct.pack("<Q", len(header)), header, *chunks])


def load(path: Path) -> Snapshot:
    """The snapshot at `path`; DamageError where a bit of it is not what was written."""
    body = read_container(path)
    try:
        (length,) = struct.unpack("<Q", body[:LENGTH_BYTES])
        start = LENGTH_BYTES
        header = parse_object(bytes(body[start : start + length]))
        content = body[start + length :]
        if not (fits(header["about"], Mapping[str, Any]) and fits(header["tensors"], Sequence[Mapping[str, Any]])):
            raise ValueError("its header is none")
        if sum(_bytes(entry) for entry in header["tensors"]) > len(content):
            raise ValueError("its tensors overlap")
        return Snapshot(header["about"], {entry["name"]: _tensor(entry, content) for entry in header["tensors"]})
    except (ValueError, KeyError, TypeError, OverflowError, struct.error, RecursionError) as error:
        # The checksum holds, so somebody wrote this on purpose.
        raise DamageError(f"{path} is no snapshot as this project writes it: {error}") from error


def _bytes(entry: Mapping[str, Any]) -> int:
    count: int = prod(entry["shape"])
    return count * DTYPES[entry["dtype"]].itemsize


def _tensor(entry: Mapping[str, Any], content: memoryview) -> Tensor:
    dtype, shape, offset = DTYPES[entry["dtype"]], entry["shape"], entry["offset"]
    if not all(type(size) is int and size >= 0 for size in [*shape, offset]):
        raise ValueError(f"shape {shape} at {offset}")
    return from_bytes(content[offset : offset + _bytes(entry)], dtype, shape)


def newest(folder: Path, cohort: str, metadata: Mapping[str, Any]) -> tuple[Snapshot | None, list[str]]:
    """The newest whole snapshot of a cohort from the same environment, and why others are not used."""
    snapshots, refused = [], []
    for path in _generations(folder, cohort):
        try:
            snapshot = load(path)
        except FileNotFoundError:
            continue
        except DamageError as error:
            refused.append(str(error))
            continue
        if not fits(snapshot.metadata.get("step"), int):
            refused.append(f"{path} does not say of which step it is")
            continue
        different = [name for name, value in metadata.items() if snapshot.metadata.get(name) != value]
        if different:
            refused.append(f"{path} was written with a different {', '.join(different)}")
        else:
            snapshots.append(snapshot)
    return max(snapshots, key=lambda snapshot: snapshot.metadata["step"], default=None), refused


def save(folder: Path, cohort: str, snapshot: Snapshot) -> None:
    """Write a snapshot over the older of the two generations."""
    generations = {path: _generation(path) for path in _generations(folder, cohort)}
    older = min(generations, key=generations.__getitem__)
    metadata = {**snapshot.metadata, GENERATION: max(generations.values()) + 1}
    write_atomically(older, dump(Snapshot(metadata, snapshot.tensors)))


def discard(folder: Path, cohort: str) -> None:
    """Remove a cohort's snapshots: all its trials have their records."""
    for path in _generations(folder, cohort):
        remove_file(path)


def _generations(folder: Path, cohort: str) -> list[Path]:
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
