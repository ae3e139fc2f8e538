"""Tables as arrays: numbers are standardised, truth values are 0 and 1, text becomes classes, one column for each.

What a text column may hold is taken from all rows, so that validation and test examples have the same columns as
training ones. What has to be known of numbers, their mean and deviation, is that of the training examples alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What the columns of a table are in the arrays that are made of it."""

    target: str
    categories: Mapping[str, tuple[str, ...] | None]  # of each feature that is text; None for all others
    is_number: NDArray[np.bool_]  # of each column of x


def table_arrays(
    where: str, tables: "Mapping[str, pd.DataFrame]", target: str
) -> tuple[dict[str, NDArray[Any]], Columns]:
    """The arrays of tables, x and y with the name of each table behind it, and what the columns are in x."""
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
    categories = {name: _categories(where, name, whole[name]) for name in features}
    x = _features(where, whole, categories)
    is_number = [
        np.full(1 if texts is None else len(texts), whole[name].dtype.kind in "iuf")
        for name, texts in categories.items()
    ]
    labels = _labels(whole[target])
    ends = np.cumsum([0, *map(len, tables.values())])
    arrays: dict[str, NDArray[Any]] = {}
    for suffix, start, stop in zip(tables, ends[:-1], ends[1:], strict=True):
        arrays |= {f"x{suffix}": x[start:stop], f"y{suffix}": labels[start:stop]}
    return arrays, Columns(target=target, categories=categories, is_number=np.concatenate(is_number))


def scales(train: NDArray[Any], is_number: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation of each number column of training examples: less the one, over the other, they are learnt.

    A column that has one value becomes 0. What is no number stays as it is.
    """
    # In single precision the sum of a long column stops growing.
    mean, std = (function(train, 0, np.float64).astype(np.float32) for function in (np.mean, np.std))
    return np.where(is_number, mean, np.float32(0)), np.where(is_number & (std > 0), std, np.float32(1))


def encoded_table(
    where: str, table: "pd.DataFrame", target: str, categories: Mapping[str, Sequence[str] | None]
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The examples of another table as those of training were made, not yet standardised; targets if it has them."""
    table = table.set_axis([str(name) for name in table.columns], axis=1)
    if missing := [name for name in categories if name not in table.columns]:
        raise SuiteError(f"{where}: has no column {missing[0]!r}, which the model was trained on")
    _require_values(where, table[[*categories]])
    x = _features(where, table, categories)
    return x, _labels(table[target]) if target in table.columns else None


def _labels(column: "pd.Series[Any]") -> NDArray[Any]:
    return column.to_numpy(str) if _is_text(column) else column.to_numpy()


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


def _categories(where: str, name: str, column: "pd.Series[Any]") -> tuple[str, ...] | None:
    """The texts that a column holds; None where it holds numbers or truth values."""
    if column.dtype.kind in "cMm":
        raise SuiteError(f"{where}: column {name!r} holds {REMEDIES[column.dtype.kind]}; got {column.dtype}")
    if not _is_text(column):
        return None
    if strangers := [value for value in column if not isinstance(value, str)]:
        kind = type(strangers[0]).__name__
        raise SuiteError(
            f"{where}: column {name!r} holds a {kind} ({strangers[0]!r:.40}); make all of it text or numbers"
        )
    texts: tuple[str, ...] = tuple(np.unique(column.to_numpy(str)).tolist())
    if len(texts) > MAX_CATEGORIES:
        raise SuiteError(
            f"{where}: column {name!r} holds {len(texts)} different texts, which can't be classes (at most "
            f"{MAX_CATEGORIES}); leave it out, or make numbers of it"
        )
    return texts


def _features(where: str, table: "pd.DataFrame", categories: Mapping[str, Sequence[str] | None]) -> NDArray[np.float64]:
    """The columns as numbers: each as one, or as one for each of its categories."""
    return np.concatenate([_encoded(where, name, table[name], texts) for name, texts in categories.items()], axis=1)


def _encoded(where: str, name: str, column: "pd.Series[Any]", texts: Sequence[str] | None) -> NDArray[np.float64]:
    if texts is None:
        if _is_text(column):
            raise SuiteError(
                f"{where}: column {name!r} holds text, such as {column.iloc[0]!r:.40}, and must hold numbers"
            )
        return column.to_numpy(np.float64)[:, None]
    place = {text: i for i, text in enumerate(texts)}
    values = column.to_numpy(str)
    if strangers := [value for value in values.tolist() if value not in place]:
        raise SuiteError(
            f"{where}: column {name!r} holds {strangers[0]!r:.40}, which no example has that the model was trained on"
        )
    return np.eye(len(texts))[[place[value] for value in values.tolist()]]
