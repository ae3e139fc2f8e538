"""Arrays from files of unknown origin: no pickle, and no more memory than the size of the file accounts for."""

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DamageError, SuiteError, UsageError
from harness.io import read_bytes

MAX_ARRAY_BYTES = 64 * 2**30
MAX_TEXT_BYTES = 2**30
MAX_RATIO = 100  # of the bytes of an archive in memory to those in its file
SMALL = 2**26  # bytes in memory that any archive may take
LABEL = "label"


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in an .npz file, by name."""
    try:
        data = read_bytes(path, max_bytes=MAX_ARRAY_BYTES)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > max(SMALL, MAX_RATIO * len(data)):
                raise ValueError(f"it unfolds to more than {MAX_RATIO} times its size")
            for entry in archive.infolist():
                _check_size(archive, entry)
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
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


def read_csv(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The examples in a table of numbers, one a row "N C", and the labels in its column `label`, if it has one.

    The first row has the names of the columns, unless it is all numbers.
    """
    import pandas as pd  # workers read no table, and need not load it

    data = _read_capped(path)
    try:
        header = None if _are_numbers(data[: 2**20].partition(b"\n")[0]) else 0
        frame = pd.read_csv(io.BytesIO(data), header=header, skipinitialspace=True)
        if frame.empty:
            raise ValueError("it has no rows")
        labels = frame.pop(LABEL).to_numpy() if LABEL in frame.columns else None
        if invalid := [name for name, dtype in frame.dtypes.items() if dtype.kind not in "fiub"]:
            raise ValueError(f"column {str(invalid[0])[:50]!r} holds more than numbers")
        return frame.to_numpy(np.float32), labels
    except (ValueError, TypeError, OverflowError, pd.errors.ParserError) as error:
        raise UsageError(f"{path} is no table of numbers: {' '.join(str(error).split())[:200]}") from error


def _read_capped(path: Path) -> bytes:
    try:
        return read_bytes(path, max_bytes=MAX_TEXT_BYTES)
    except FileNotFoundError as error:
        raise UsageError(f"no file {path}") from error
    except DamageError as error:
        raise UsageError(str(error)) from error


def _are_numbers(row: bytes) -> bool:
    try:
        return bool([float(cell) for cell in row.decode().split(",")])
    except ValueError:
        return False
