"""A checksum inside of files whose formats are others': a mark and the sha256 of the file with zeros in its place.

Programs that know the format see a comment (zip) or a piece of metadata (safetensors, ONNX) and read the file as any
other. Whoever verifies it knows of every changed bit.
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
MAX_BYTES = 16 * 2**30
MAX_HEADER = 2**26  # bytes, of a safetensors file
ZIP = b"PK\x03\x04"
FOREIGN = (
    "holds no model that `export` wrote in a form that can be loaded (checkpoint, state_dict, module, safetensors)"
)


def embed_checksum(data: bytes) -> bytes:
    """The file with its checksum in the place of UNSEALED."""
    assert data.count(MARK) == 1
    return data.replace(NO_CHECKSUM, MARK + hashlib.sha256(data).hexdigest().encode())


def zip_with_checksum(data: bytes, added: Mapping[str, bytes]) -> bytes:
    """The archive with further entries under extra/, where torch looks for none, and with a checksum as its comment."""
    file = io.BytesIO(data)
    with zipfile.ZipFile(file, "a") as archive:
        top = archive.namelist()[0].partition("/")[0]
        for name, content in added.items():
            archive.writestr(zipfile.ZipInfo(f"{top}/extra/{name}"), content)
        archive.comment = NO_CHECKSUM
    return embed_checksum(file.getvalue())


def read_checked(path: Path) -> bytes:
    """The content of a sealed zip or safetensors file; ModelError where it is none, or a bit of it has changed.

    A few bytes tell what is none of ours, before the whole is read.
    """
    try:
        with open_regular(path, max_bytes=MAX_BYTES) as file:
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
    """Whether the file is, bit for bit, what was sealed."""
    before, mark, rest = data.partition(MARK)
    if not mark or MARK in rest:
        return False
    digest = hashlib.sha256(before)
    for part in (mark, ZEROS, memoryview(rest)[len(ZEROS) :]):
        digest.update(part)
    return rest[: len(ZEROS)] == digest.hexdigest().encode()


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
    """What a zip file holds under extra/, by name; ValueError where it could hold more than its own size.

    Torch stores its tensors uncompressed, each once: an archive that doesn't may be made to fill the memory.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in found):
            raise ValueError("its entries are compressed or encrypted")
        if sum(max(entry.file_size, entry.compress_size) for entry in found) > len(data):
            raise ValueError("its entries claim more bytes than the file has")
        extra = [entry for entry in found if "/extra/" in entry.filename]
        return {entry.filename.rpartition("/")[2]: archive.read(entry) for entry in extra}
