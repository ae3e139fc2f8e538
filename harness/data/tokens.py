"""Tokens: whole numbers 0, 1, ... below the size of a vocabulary, which a model looks up and never computes with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.arrays import as_array, require_numbers
from harness.data.splits import Indices
from harness.errors import SuiteError

MAX_VOCABULARY = 2**24  # float32, which tables are read in, has all whole numbers up to this


def as_vocabulary(where: str, value: Any) -> int:
    """How many tokens there are; SuiteError unless that is a whole number of at least 2."""
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "iu" or not 2 <= number <= MAX_VOCABULARY:
        raise SuiteError(
            f"{where}: vocabulary must be how many tokens there are, a whole number in 2..{MAX_VOCABULARY}, "
            f"got {value!r:.50}"
        )
    return int(number)


def as_tokens(where: str, x: Any, vocabulary: int, rows: Indices | None = None) -> NDArray[np.int64]:
    """The examples "N L", or those of some rows, as tokens; SuiteError, with the place, where a value is none."""
    array = as_array(where, x)
    require_numbers(where, array)
    if array.ndim != 2:
        raise SuiteError(f"{where}: tokens must have the shape (examples, positions), got {array.shape}")
    chosen = array if rows is None else array[rows]
    with np.errstate(invalid="ignore"):
        tokens = chosen.astype(np.int64)
    is_token = (tokens == chosen) & (tokens >= 0) & (tokens < vocabulary)
    if not is_token.all():
        row, position = (int(i) for i in np.argwhere(~is_token)[0])
        place = [row if rows is None else int(rows[row]), position]
        raise SuiteError(
            f"{where}: {chosen[row, position]!s:.40} at {place} is no token: they are whole numbers from 0 to "
            f"vocabulary - 1, here {vocabulary - 1}"
        )
    return tokens
