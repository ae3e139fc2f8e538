"""Arrays from files of unknown origin: no pickle, and no more memory than the size of the file accounts for."""

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DamageError, SuiteError
from harness.io import open_regular

MAX_ARRAY_BYTES = 64 * 2**30
MAX_RATIO = 100  # of the bytes of an archive in memory to those in its file
SMALL = 2**26  # bytes in memory that any archive may take


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in an .npz file, by name."""
    try:
        with open_regular(path, max_bytes=MAX_ARRAY_BYTES) as file:  # and not read: arrays alone are in memory
            size = file.seek(0, io.SEEK_END)
            with zipfile.ZipFile(file) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > max(SMALL, MAX_RATIO * size):
                    raise ValueError(f"it unfolds to more than {MAX_RATIO} times its size")
                for entry in archive.infolist():
                    _check_size(archive, entry)
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError, DamageError) as error:
        raise SuiteError(f"dataset {path}: not an .npz file of plain arrays ({error})") from error


def _check_size(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """ValueError where an array claims a shape that it has no bytes for: numpy would allocate it first."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    if math.prod(shape) * dtype.itemsize > entry.file_size:
        raise ValueError(f"{entry.filename!r} claims a shape of {shape!r:.100} and has {entry.file_size} bytes")
