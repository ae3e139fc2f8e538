"""Tables as CSV files: no text in them starts like a spreadsheet formula, and every text is read back as it was."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from harness.errors import DamageError
from harness.io import read_bytes, write_atomically
from harness.text import printable

MAX_TABLE_BYTES = 2**30


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """The frame as CSV in which all text can be seen, and none starts like a spreadsheet formula or ends its row."""
    return _map_texts(frame, _escape).to_csv(index=False, lineterminator="\n").encode()


_FORMULA = frozenset("=+-@\t\r")


# As `printable` writes them, but for lone surrogates, which no table can hold.
ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|u(?!d[89a-f])[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4})")


def _escape(text: str) -> str:
    text = printable(ESCAPE.sub(r"\\x5c\1", text))  # a backslash that looks like one of ours is escaped itself
    return f"'{text}" if _is_formula(text) else text


def _unescape(text: str) -> str:
    text = text[1:] if text[:1] == "'" and _is_formula(text) else text
    return ESCAPE.sub(lambda match: chr(int(match[1][1:], 16)), text)


def _is_formula(text: str) -> bool:
    """Whether a text would be a formula, but for quotes before it."""
    return text.lstrip("'")[:1] in _FORMULA


def _map_texts(frame: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    frame = frame.copy()
    for column in frame.columns[[kind in ("str", "object") for kind in frame.dtypes.astype(str)]]:
        cells = [change(cell) if isinstance(cell, str) else cell for cell in frame[column]]
        frame[column] = pd.Series(cells, index=frame.index, dtype=frame[column].dtype)
    return frame


def read_table(path: Path, dtypes: Mapping[str, str | None], optional: Sequence[str] = ()) -> pd.DataFrame:
    """The table at `path`, texts as they were before `csv_bytes`; it must have the columns `dtypes`, in their order.

    Those that are optional, the last ones, may be missing.
    """
    data = read_bytes(path, max_bytes=MAX_TABLE_BYTES)
    known = {column: dtype for column, dtype in dtypes.items() if dtype is not None}
    if not data.endswith(b"\n"):
        raise DamageError(f"{path} is cut off: its last line has no end")
    try:
        frame = pd.read_csv(io.BytesIO(data), dtype=known, keep_default_na=False, na_values=[""])
    except (ValueError, TypeError, OverflowError) as error:
        raise DamageError(f"{path} is not a table: {error}") from error
    required = [column for column in dtypes if column not in optional]
    if list(frame.columns) not in (required, list(dtypes)):
        raise DamageError(f"{path} is not the table that this version writes: its columns differ")
    return _map_texts(frame, _unescape)


def write_if_changed(path: Path, data: bytes) -> None:
    """Leave a table alone that says the same already, so that what is made from it need not be made again."""
    try:
        if read_bytes(path, max_bytes=MAX_TABLE_BYTES) == data:
            return
    except (FileNotFoundError, DamageError):
        pass
    write_atomically(path, data)
