"""Tables as arrays: numbers are standardised, truth values are 0 and 1, text becomes classes, one column for each.

What a text column may hold is taken from all rows, so that validation and test examples have the same columns as
training ones. What has to be known of numbers, their mean and deviation, is that of the training examples alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data.arrays import REMEDIES
from harness.errors import SuiteError

if TYPE_CHECKING:  # it takes a second to load, and few data need it
    import pandas as pd

SUFFIXES = (".csv", ".parquet")
MAX_CATEGORIES = 1000  # of a column of text


def read_table(path: Path) -> "pd.DataFrame":
    """The table in a CSV or Parquet file; SuiteError where it is none."""
    import pandas as pd

    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except Exception as error:  # pandas and pyarrow raise many kinds
        raise SuiteError(f"{path.name} can't be read as a table: {' '.join(str(error).split())[:200]}") from error
    if unnamed := [name for name in table.columns if str(name).startswith("Unnamed: ")]:
        raise SuiteError(
            f"{path.name} has a column without a name ({unnamed[0]}), an index, it seems; leave it out, as "
            "to_csv(index=False) does"
        )
    return table


def table_arrays(
    where: str, tables: "Mapping[str, pd.DataFrame]", target: str
) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
    """The arrays of tables, x and y with the name of each table behind it, and which columns of x hold numbers."""
    import pandas as pd

    first = next(iter(tables.values()))
    names = [str(name) for name in first.columns]
    if target not in names:
        shown = ", ".join(names)[:200]
        raise SuiteError(
            f"{where}: target_column must be the column to predict, got {target!r}; the table has: {shown}"
        )
    if len(set(names)) < len(names):
        raise SuiteError(f"{where}: two columns are called {max(names, key=names.count)!r}; rename one")
    if strangers := [suffix for suffix, table in tables.items() if list(map(str, table.columns)) != names]:
        raise SuiteError(f"{where}: tables of all splits must have the same columns, and {strangers[0][1:]} has others")
    whole = pd.concat([table.set_axis(names, axis=1) for table in tables.values()], ignore_index=True)
    _require_values(where, whole)
    features = [name for name in names if name != target]
    if not features:
        raise SuiteError(f"{where}: has no column besides {target!r} to predict it from")
    columns = {name: _encoded(where, name, whole[name]) for name in features}
    x = np.concatenate([values for values, _ in columns.values()], axis=1)
    is_number = np.concatenate([np.full(values.shape[1], number) for values, number in columns.values()])
    y = whole[target]
    labels = y.to_numpy(str) if _is_text(y) else y.to_numpy()
    ends = np.cumsum([0, *map(len, tables.values())])
    arrays: dict[str, NDArray[Any]] = {}
    for suffix, start, stop in zip(tables, ends[:-1], ends[1:], strict=True):
        arrays |= {f"x{suffix}": x[start:stop], f"y{suffix}": labels[start:stop]}
    return arrays, is_number


def standardised(x: Mapping[str, NDArray[Any]], is_number: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """The examples of each split, their number columns with mean 0 and deviation 1 over the training examples.

    A column that has one value there becomes 0.
    """
    # In single precision the sum of a long column stops growing.
    mean, std = (function(x["train"], 0, np.float64).astype(np.float32) for function in (np.mean, np.std))
    mean, std = np.where(is_number, mean, np.float32(0)), np.where(is_number & (std > 0), std, np.float32(1))
    return {split: (values - mean) / std for split, values in x.items()}


def _require_values(where: str, table: "pd.DataFrame") -> None:
    counts = table.isna().sum()
    if (missing := counts[counts > 0]).size:
        columns = ", ".join(f"{name!r} ({count} of {len(table)} rows)" for name, count in missing.items())
        raise SuiteError(
            f"{where}: values are missing in {columns[:300]}; fill them (fillna), or leave out these rows (dropna) or "
            "columns"
        )


def _is_text(column: "pd.Series[Any]") -> bool:
    return column.dtype.kind not in "biufcMm"


def _encoded(where: str, name: str, column: "pd.Series[Any]") -> tuple[NDArray[np.float64], bool]:
    """A column as one of numbers, or as one for each of its categories; and whether it holds numbers."""
    if column.dtype.kind == "b":
        return column.to_numpy(np.float64)[:, None], False
    if column.dtype.kind in "cMm":
        raise SuiteError(f"{where}: column {name!r} holds {REMEDIES[column.dtype.kind]}; got {column.dtype}")
    if column.dtype.kind in "iuf":
        return column.to_numpy(np.float64)[:, None], True
    if strangers := [value for value in column if not isinstance(value, str)]:
        kind = type(strangers[0]).__name__
        raise SuiteError(
            f"{where}: column {name!r} holds a {kind} ({strangers[0]!r:.40}); make all of it text or numbers"
        )
    categories, codes = np.unique(column.to_numpy(str), return_inverse=True)
    if len(categories) > MAX_CATEGORIES:
        raise SuiteError(
            f"{where}: column {name!r} holds {len(categories)} different texts, which can't be classes (at most "
            f"{MAX_CATEGORIES}); leave it out, or make numbers of it"
        )
    return np.eye(len(categories))[codes], False
