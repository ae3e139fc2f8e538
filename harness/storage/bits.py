"""Which trials came to the same, to the last bit."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.storage.tables import outcomes_of


def equal_to_the_bit(
    one: pd.DataFrame,
    other: pd.DataFrame,
    curves: pd.DataFrame,
    other_curves: pd.DataFrame,
    columns: Sequence[str] | None = None,
) -> "pd.Series[bool]":
    """Whether the trial in each row of one table has the outcomes and curves of that in the same row of the other.

    All outcomes that both tables have, unless `columns` names some.
    """
    columns = [name for name in outcomes_of(one) if name in other] if columns is None else columns
    equal = pd.Series(True, index=one.index)
    for column in columns:
        equal &= (one[column] == other[column]).fillna(False) | (one[column].isna() & other[column].isna())
    if not equal.any():
        return equal
    digests = [trials["key"].map(_curve_digests(c)) for trials, c in ((one, curves), (other, other_curves))]
    return equal & ((digests[0] == digests[1]) | (digests[0].isna() & digests[1].isna()))


def _curve_digests(curves: pd.DataFrame) -> "pd.Series[Any]":
    """A digest of the curves of each key, in which their order has no part."""
    rows = pd.util.hash_pandas_object(curves[["step", "split", "metric", "value"]], index=False)
    return rows.groupby(curves["key"]).sum()
