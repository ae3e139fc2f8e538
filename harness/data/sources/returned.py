"""What a function of a suite's own may return for data, brought into arrays.

That is (x, y), a torch Dataset or a table of pandas, the first two Streamed or not; a dictionary of these by split,
{"train": ..., "test": ...}, with "val" where there is one; a tuple (train, test) or (train, val, test) of Datasets or
tables; or a dictionary of arrays.
"""

from collections.abc import Mapping
from typing import Any

from harness.data.sources.tables import Columns, table_arrays
from harness.data.sources.torch_datasets import dataset_arrays, is_torch_dataset
from harness.data.streamed import Streamed
from harness.errors import SuiteError

SPLITS_OF_TUPLES = {2: ("train", "test"), 3: ("train", "val", "test")}


def arrays_of(where: str, result: Any, target_column: str) -> tuple[Mapping[str, Any], Columns | None]:
    """The arrays, and of tables what the columns are."""
    parts = _parts(result)
    if parts and all(map(_is_table, parts.values())):
        return table_arrays(where, parts, target_column)
    if target_column:
        raise SuiteError(f"{where}: target_column={target_column!r} is of tables, and the data are none; leave it out")
    if parts:
        return {name: array for suffix, part in parts.items() for name, array in _arrays(where, suffix, part)}, None
    if not isinstance(result, Mapping):
        raise SuiteError(
            f"{where} must return (x, y), a dictionary of arrays, a torch Dataset or a pandas DataFrame, got "
            f"{type(result).__name__}"
        )
    return result, None


def _parts(result: Any) -> dict[str, Any]:
    """What is given of each split, by what the names of its arrays end with; empty for a dictionary of arrays."""
    if _is_dataset(result) or _is_table(result):
        return {"": result}
    if isinstance(result, tuple) and result and all(_is_dataset(part) or _is_table(part) for part in result):
        return {f"_{split}": part for split, part in zip(SPLITS_OF_TUPLES.get(len(result), ()), result, strict=False)}
    if isinstance(result, tuple) and len(result) == 2:
        return {"": result}
    if isinstance(result, Mapping) and result and result.keys() <= {"train", "val", "test"}:
        return {f"_{split}": part for split, part in result.items()}
    return {}


def _arrays(where: str, suffix: str, part: Any) -> list[tuple[str, Any]]:
    if _is_dataset(part):
        x, y = dataset_arrays(f"{where}{suffix.replace('_', ', ')}", part)
    elif isinstance(part, tuple | list) and len(part) == 2:
        x, y = part
    else:
        raise SuiteError(
            f"{where}: {suffix[1:]!r} must be (x, y), a torch Dataset or, in all splits, a pandas DataFrame, got "
            f"{type(part).__name__}"
        )
    return [(f"x{suffix}", x), (f"y{suffix}", y)]


def _is_dataset(value: Any) -> bool:
    return is_torch_dataset(value.source if isinstance(value, Streamed) else value)


def _is_table(value: Any) -> bool:
    return type(value).__name__ == "DataFrame" and type(value).__module__.startswith("pandas")
