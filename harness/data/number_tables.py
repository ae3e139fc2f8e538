"""Tables of numbers in CSV files, as pandas, numpy, spreadsheets and people write them: read right, or refused.

What is refused is named by its row, from 1 as an editor counts lines, its column and what to do about it. Nothing is
guessed: nobody would see a row too much or too few, or a shifted column.
"""

import codecs
import csv
import io
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DamageError, UsageError
from harness.io import read_bytes
from harness.text import MISSING, printable

MAX_TEXT_BYTES = 2**30
LABEL = "label"
BYTE_ORDER_MARKS = {  # the longer ones first: that of UTF-32 starts like that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
DECIMAL_COMMA = ";\t"  # what stands between cells where commas stand in numbers
WITH_COMMAS = "save it with commas between cells and points in numbers, as pandas.DataFrame.to_csv does"
BOOLEANS = {
    name: float(value) for value in (True, False) for name in (str(value), str(value).lower(), str(value).upper())
}
INDEX = "an index, it seems; leave it out, as to_csv(index=False) does"


@dataclass(frozen=True, slots=True)
class _Row:
    """The cells of a row, and on which line of the file it ends."""

    line: int
    cells: list[str]


def read_csv(path: Path) -> tuple[NDArray[np.float32], NDArray[Any] | None]:
    """The examples in a table of numbers, one a row "N C", and the labels in its column `label`, if it has one.

    The first row has the names of the columns, unless it is all numbers. UsageError where anything can't be told.
    """
    try:
        data = read_bytes(path, max_bytes=MAX_TEXT_BYTES)
    except FileNotFoundError as error:
        raise UsageError(f"no file {path}") from error
    except DamageError as error:
        raise UsageError(str(error)) from error
    try:
        return _read(data)
    except UnicodeError as error:
        raise UsageError(f"{path} is no table of numbers: {_undecodable(data)}") from error
    except (UsageError, csv.Error) as error:
        raise UsageError(f"{path} is no table of numbers: {printable(str(error))[:300]}") from error


def _read(data: bytes) -> tuple[NDArray[np.float32], NDArray[Any] | None]:
    rows = _rows(data)
    first = next(rows, None)
    if first is None:
        raise UsageError("it is empty")
    names = _names(first)
    label = names.index(LABEL) if LABEL in names else None
    numbers, labels, lines = array("d"), [], []
    width = len(first.cells)
    for row in rows if names else _with_first(first, rows):
        if len(row.cells) != width:
            hint = f"; the first column is {INDEX}" if len(row.cells) == width + 1 and row.cells[-1] else ""
            raise UsageError(f"row {row.line} has {len(row.cells)} cells and row {first.line} {width}{hint}")
        if label is not None:
            labels.append(_label(row, row.cells.pop(label)))
        numbers.extend(_numbers(row, label))
        lines.append(row.line)
    if not lines:
        raise UsageError("it has no rows with numbers")
    return _as_float32(numbers, lines, label), None if label is None else _as_labels(labels)


def _encoding(data: bytes) -> str:
    return next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")


def _undecodable(data: bytes) -> str:
    """Where a text is not in its encoding."""
    encoding = _encoding(data)
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        return f"row {row} has bytes that are not {encoding.removesuffix('-sig').upper()}; save it as UTF-8"
    return "it is not UTF-8; save it so"


def _rows(data: bytes) -> Iterator[_Row]:
    """The rows that are not blank; UsageError where the file is one of another kind."""
    encoding = _encoding(data)
    if encoding == "utf-8" and b"\0" in data[:1000]:
        raise UsageError("it holds zero bytes, and is no text or UTF-16 without a byte order mark; save it as UTF-8")
    text = io.TextIOWrapper(io.BytesIO(data), encoding, newline="")
    reader = csv.reader(text, skipinitialspace=True, strict=True)
    width = 0
    for cells in reader:
        if len(cells) <= 1 and not "".join(cells).strip():
            if width == 1 and cells:  # in a table of one column pandas writes "" for what is missing
                raise UsageError(f"row {reader.line_num} is empty; fill or leave out this example")
            continue
        row = _Row(reader.line_num, cells)
        if not width:
            _require_commas(row)
        width = len(cells)
        yield row


def _with_first(first: _Row, rows: Iterator[_Row]) -> Iterator[_Row]:
    yield first
    yield from rows


def _require_commas(first: _Row) -> None:
    """UsageError where the first row is a comment, or has other separators than commas."""
    start = first.cells[0].lstrip()
    if start.startswith("#"):
        raise UsageError(f"row {first.line} is a comment; remove such rows (numpy.savetxt: comments='')")
    if start.lower().startswith("sep="):
        raise UsageError(f"row {first.line} sets a separator; {WITH_COMMAS}")
    for separator, words in OTHER_SEPARATORS.items():
        if any(separator in cell for cell in first.cells) and (len(first.cells) == 1 or separator in DECIMAL_COMMA):
            raise UsageError(f"row {first.line} has {words} between its cells; {WITH_COMMAS}")


def _names(first: _Row) -> list[str]:
    """The names of the columns; none where the first row has numbers. UsageError where it may be either."""
    cells = [cell.strip() for cell in first.cells]
    is_number = [_number(cell) is not None for cell in cells]
    if all(is_number):
        if _are_positions(cells):
            raise UsageError(
                f"row {first.line} reads {','.join(cells)[:40]}, which may be numbers of columns, as pandas writes "
                "them, or an example: name the columns, or write to_csv(header=False, index=False)"
            )
        return []
    if not cells[0] or cells[0].startswith("Unnamed: "):
        raise UsageError(f"row {first.line}, column 1 has no name: it is {INDEX}; or fill the gap")
    for column, cell in enumerate(cells, start=1):
        if cell in MISSING:
            raise UsageError(
                f"row {first.line}, column {column} has no name ({cell!r}); name each column, or fill the gap"
            )
    if any(is_number) and LABEL not in cells:
        column = is_number.index(False) + 1
        raise UsageError(
            f"row {first.line} has numbers, and {cells[column - 1]!r:.40} in column {column}: the first row names each "
            f"column, and that of labels {LABEL!r}, or is an example"
        )
    if cells.count(LABEL) > 1:
        raise UsageError(f"{cells.count(LABEL)} columns are called {LABEL!r}; leave one of them")
    return cells


def _are_positions(cells: Sequence[str]) -> bool:
    """Whether numbers may be those of columns, as pandas counts them: 0, 1, 2, ..."""
    return all(cell == str(position) for position, cell in enumerate(cells))


def _number(cell: str) -> float | None:
    """The number or truth value that a cell holds, if any; numbers are those of other languages, not 1_000."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return BOOLEANS.get(cell.strip())


def _numbers(row: _Row, label: int | None) -> list[float]:
    """The numbers of a row without its label."""
    try:
        numbers = list(map(float, row.cells))
        if "_" not in "".join(row.cells):
            return numbers
    except ValueError:
        pass
    numbers = []
    for position, cell in enumerate(row.cells):
        number = _number(cell)
        if number is None:
            place = f"row {row.line}, column {_column(position, label)}"
            if not cell.strip() or cell.strip() in MISSING:
                raise UsageError(f"{place} is empty or missing; fill or leave out this example")
            raise UsageError(f"{place} holds {cell!r:.40}, which is no number; {_remedy(cell)}")
        numbers.append(number)
    return numbers


def _column(position: int, label: int | None) -> int:
    """The column, from 1, of a cell of a row from which the label was taken."""
    return position + 1 + (label is not None and position >= label)


def _remedy(cell: str) -> str:
    if "," in cell:
        return "write numbers without thousands separators, and with a point"
    if any(letter in cell for letter in OTHER_SEPARATORS) or len(cell.split()) > 1:
        return WITH_COMMAS
    return "write dates, units and names as numbers, or leave out the column"


def _label(row: _Row, cell: str) -> str:
    if cell.strip() in MISSING:
        raise UsageError(f"row {row.line} has no label ({cell.strip()!r}); fill or leave out this example")
    return cell


def _as_float32(numbers: "array[float]", lines: Sequence[int], label: int | None) -> NDArray[np.float32]:
    x = np.frombuffer(numbers, np.float64).reshape(len(lines), -1)
    with np.errstate(over="ignore"):
        out = x.astype(np.float32)
    if not (is_finite := np.isfinite(out)).all():
        row, position = (int(i) for i in np.argwhere(~is_finite)[0])
        raise UsageError(
            f"row {lines[row]}, column {_column(position, label)} holds {x[row, position]}: NaN, infinite or missing "
            "values, and those beyond float32, can't be used; fill or leave out these examples"
        )
    return out


def _as_labels(labels: Sequence[str]) -> NDArray[Any]:
    """The labels as whole numbers or as numbers, where all are, else as text."""
    for read in (int, float):
        try:
            values = np.array([read(label) for label in labels])
        except (ValueError, OverflowError):
            continue
        if values.dtype.kind in "iuf" and not any("_" in label for label in labels):
            return values
    return np.array(labels, dtype=np.str_)
