"""Snapshots to go on from: tensors and a step, in a container without pickle that knows when it is damaged.

The body of a container (storage/containers.py) is a JSON header and the tensors' bytes. Two generations are kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from torch import Tensor

from harness.ensemble.tensor_bytes import DTYPES, from_bytes, to_bytes
from harness.errors import DamageError
from harness.storage.containers import generations, read_headed, seal_headed, write_generation
from harness.typed import fits


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
    return seal_headed({"about": dict(snapshot.metadata), "tensors": layout}, chunks)


def load(path: Path) -> Snapshot:
    """The snapshot at `path`; DamageError where a bit of it is not what was written."""
    header, content = read_headed(path)
    try:
        if not (fits(header["about"], Mapping[str, Any]) and fits(header["tensors"], Sequence[Mapping[str, Any]])):
            raise ValueError("its header is none")
        if sum(_bytes(entry) for entry in header["tensors"]) > len(content):
            raise ValueError("its tensors overlap")
        return Snapshot(header["about"], {entry["name"]: _tensor(entry, content) for entry in header["tensors"]})
    except (ValueError, KeyError, TypeError, OverflowError) as error:
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
    for path in generations(folder, cohort):
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
    write_generation(
        folder, cohort, lambda generation: dump(Snapshot({**snapshot.metadata, **generation}, snapshot.tensors))
    )
