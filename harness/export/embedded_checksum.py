"""A checksum embedded in a file of a common format: a marker, and the sha256 of the file with zeros in its place.

Programs that know the format see a comment (zip) or metadata (safetensors, ONNX) and read the file as any other.
Verifying it notices every changed bit.
"""

import hashlib
import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from harness.errors import DamageError, ModelError
from harness.io import open_regular

MARK, ZEROS = b"harness-sha256:", b"0" * 64
NO_CHECKSUM = MARK + ZEROS  # what a writer puts where the format has room for it
MAX_MODEL_BYTES = 16 * 2**30
MAX_HEADER = 2**26  # bytes, of a safetensors file
MAX_ONNX_FACTS = 2**20  # bytes at the end of an ONNX file, where its metadata stand
ZIP = b"PK\x03\x04"
FOREIGN = (
    "holds no model that `export` wrote in a form that can be loaded (checkpoint, state_dict, module, safetensors)"
)


def embed_checksum(data: bytes) -> bytes:
    """The file with its checksum in the place of NO_CHECKSUM."""
    assert data.count(MARK) == 1
    return data.replace(NO_CHECKSUM, MARK + hashlib.sha256(data).hexdigest().encode())


def zip_with_checksum(data: bytes, extra: Mapping[str, bytes]) -> bytes:
    """The archive with more entries, under extra/ where torch looks for none, and with a checksum as its comment."""
    file = io.BytesIO(data)
    with zipfile.ZipFile(file, "a") as archive:
        top = archive.namelist()[0].partition("/")[0]
        for name, content in extra.items():
            archive.writestr(zipfile.ZipInfo(f"{top}/extra/{name}"), content)
        archive.comment = NO_CHECKSUM
    return embed_checksum(file.getvalue())


def read_checked(path: Path) -> bytes:
    """The content of a zip or safetensors file with a checksum; ModelError where it has none, or a bit has changed.

    A few bytes tell that a file is none of ours, before all of it is read.
    """
    try:
        with open_regular(path, max_bytes=MAX_MODEL_BYTES) as file:
            if not _has_mark(file):
                raise ModelError(f"{path} {FOREIGN}, or it is cut off")
            file.seek(0)
            data = file.read()
    except FileNotFoundError as error:
        raise ModelError(f"no file {path}") from error
    except DamageError as error:
        raise ModelError(str(error)) from error
    if not has_valid_checksum(data):
        raise ModelError(f"{path} is damaged: its checksum does not hold; export it again")
    return data


def has_valid_checksum(data: bytes) -> bool:
    """Whether the file is, bit for bit, what was written."""
    before, mark, rest = data.partition(MARK)
    if not mark or MARK in rest:
        return False
    digest = hashlib.sha256(before)
    for part in (mark, ZEROS, memoryview(rest)[len(ZEROS) :]):
        digest.update(part)
    return rest[: len(ZEROS)] == digest.hexdigest().encode()


def is_exported(path: Path) -> bool:
    """Whether `export` has written the file, in any format: the mark is there, whether the checksum holds or not."""
    with path.open("rb") as file:
        if _has_mark(file):
            return True
        file.seek(max(0, file.seek(0, io.SEEK_END) - MAX_ONNX_FACTS))
        return MARK in file.read()


def _has_mark(file: BinaryIO) -> bool:
    start = file.read(8)
    size = file.seek(0, io.SEEK_END)
    if start.startswith(ZIP):
        tail = 22 + len(NO_CHECKSUM)  # the end of a zip file, and its comment
        file.seek(max(0, size - tail))
        end = file.read()
        return end.startswith(b"PK\x05\x06") and end[22:].startswith(MARK)
    if len(start) < 8:
        return False
    (length,) = struct.unpack("<Q", start)
    file.seek(8)
    return length <= min(MAX_HEADER, size) and MARK in file.read(length)


def entries(data: bytes) -> dict[str, bytes]:
    """The entries of a zip file under extra/, by name; ValueError where they could be larger than the file.

    Torch stores tensors uncompressed, each once: an archive that doesn't may be made to fill the memory.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in infos):
            raise ValueError("its entries are compressed or encrypted")
        if sum(max(entry.file_size, entry.compress_size) for entry in infos) > len(data):
            raise ValueError("its entries claim more bytes than the file has")
        extra = [entry for entry in infos if "/extra/" in entry.filename]
        return {entry.filename.rpartition("/")[2]: archive.read(entry) for entry in extra}
