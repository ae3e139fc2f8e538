"""Arrays of anybody's, as training takes them: nothing is cast in silence, and nothing is copied that need not be."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.splits import Indices
from harness.errors import SuiteError

CHUNK_BYTES = 2**24  # of examples that are looked at together
NUMBERS = "fiub"  # kinds of dtypes
REMEDIES = {  # kind of dtype -> what it is, and how it becomes numbers
    "c": "complex numbers; make two features of them, .real and .imag",
    "M": "dates; count the time since one of them: (x - x.min()) / np.timedelta64(1, 'D')",
    "m": "durations; count them: x / np.timedelta64(1, 's')",
    "U": "text; where these are numbers, .astype(float) reads them",
    "S": "text; where these are numbers, .astype(float) reads them",
    "T": "text; where these are numbers, .astype(float) reads them",
    "V": "records; make one array of numbers: numpy.lib.recfunctions.structured_to_unstructured(x)",
}


def as_array(where: str, value: Any) -> NDArray[Any]:
    """What a function or file gives, as an array of numpy that shares its memory; SuiteError where it has gaps."""
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            (first, *_) = np.argwhere(np.ma.getmaskarray(value)).tolist()
            raise SuiteError(f"{where}: the value at {first} is masked; fill or leave out these examples")
        return value.data
    if callable(getattr(value, "toarray", None)):
        raise SuiteError(f"{where}: is a sparse {type(value).__name__}; give its .toarray()")
    if callable(getattr(value, "detach", None)):  # a tensor of torch
        tensor = value.detach().cpu()
        value = tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise SuiteError(f"{where}: can't be made an array: {' '.join(str(error).split())[:200]}") from error
    if not array.ndim:
        raise SuiteError(f"{where}: must be an array of examples, got {type(value).__name__}")
    return array


def require_numbers(where: str, x: Any) -> None:
    """SuiteError where an array, or what reads like one, holds anything else than real numbers and booleans."""
    if x.dtype.kind == "O":
        first = next((i for i, entry in enumerate(x.flat) if isinstance(entry, str) or entry is None), 0)
        position = [int(i) for i in np.unravel_index(first, x.shape)] if x.size else []
        entry = type(x[tuple(position)]).__name__ if x.size else "object"
        raise SuiteError(
            f"{where}: holds Python objects, such as a {entry} at {position}; where these are numbers, "
            ".astype(float) reads them"
        )
    if x.dtype.kind not in NUMBERS:
        raise SuiteError(f"{where}: holds {REMEDIES[x.dtype.kind]}; got {x.dtype!s:.50}")


def as_float32(where: str, x: NDArray[Any], rows: Indices | None = None) -> NDArray[np.float32]:
    """The examples, or those of some rows, in single precision: the array itself where it is that already.

    It is gone through a few examples at a time, so that of a memory map no more is in memory than what comes back.
    SuiteError, with the place, where a value is not finite or float32 can't hold it.
    """
    require_numbers(where, x)
    length = len(x) if rows is None else len(rows)
    is_done = rows is None and _is_float32(x)
    out = x if is_done else np.empty((length, *x.shape[1:]), np.float32)
    per_chunk = max(1, CHUNK_BYTES // max(1, x[:1].nbytes))
    has_value = survives = False
    for start in range(0, length, per_chunk):
        part = slice(start, start + per_chunk)
        chunk = x[part] if rows is None else x[rows[part]]
        if not is_done:
            with np.errstate(over="ignore"):
                out[part] = chunk
        _require_values(where, chunk, out[part], np.arange(length)[part] if rows is None else rows[part])
        has_value, survives = has_value or bool(chunk.any()), survives or bool(out[part].any())
    if has_value and not survives:
        raise SuiteError(f"{where}: all values are too small for float32, which makes them 0; scale them up")
    return out


def rows_as_float32(where: str, examples: NDArray[Any], rows: Indices) -> NDArray[np.float32]:
    """Examples that were taken from these rows, in single precision; they may all be too small for it."""
    with np.errstate(over="ignore"):
        out = examples if _is_float32(examples) else examples.astype(np.float32)
    _require_values(where, examples, out, rows)
    return out


def _is_float32(x: NDArray[Any]) -> bool:
    return x.dtype == np.float32 and x.dtype.isnative and x.flags.carray


def _require_values(where: str, examples: NDArray[Any], out: NDArray[np.float32], rows: Indices) -> None:
    """SuiteError where float32 does not hold the examples of these rows."""
    if fault := _fault(examples, out):
        (first, *rest), words = fault
        value = examples[(first, *rest)]
        raise SuiteError(f"{where}: {value!s:.40} at {[int(rows[first]), *rest]} {words}")


def _fault(chunk: NDArray[Any], out: NDArray[np.float32]) -> tuple[list[int], str] | None:
    """Where and why float32 does not hold what it should, where that is so."""
    if not (is_finite := np.isfinite(out)).all():
        position = _first(~is_finite)
        if np.isfinite(chunk[tuple(position)]):
            return position, "is beyond float32, which ends at 3.4e38; scale the values"
        return position, "can't be learnt from; fill or leave out examples with NaN or infinite values"
    is_whole = chunk.dtype.kind in "iu" and chunk.dtype.itemsize >= out.dtype.itemsize
    if is_whole and not (is_exact := out.astype(np.float64) == chunk).all():
        return _first(~is_exact), "has more digits than float32; scale the values, or round by .astype(np.float32)"
    return None


def _first(mask: NDArray[np.bool_]) -> list[int]:
    return [int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape)]
