"""How examples are made of raw data, kept with a trained model: other data then become what those of training were.

Of a table that is which texts a column may hold, and mean and deviation of its numbers; of other numbers that were
standardised, mean and deviation of each feature; of a text, which character is which token. It is plain data, since it
lies in the file of the model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.arrays import as_float32
from harness.data.sources.image_folders import images_in
from harness.data.sources.tables import SUFFIXES as TABLE_SUFFIXES
from harness.data.sources.tables import Columns, encoded_table, read_table
from harness.data.sources.texts import SUFFIX as TEXT_SUFFIX
from harness.data.sources.texts import characters_of, read_text, windows_of
from harness.typed import fits

Encoding = Mapping[str, Any]
SCALES_FIELDS: dict[str, Any] = dict.fromkeys(("mean", "std"), Sequence[float])  # of numbers' -> type
TABLE_FIELDS: dict[str, Any] = {  # of a table's -> type
    **{"target": str, "columns": Sequence[str], "texts": Sequence[Sequence[str] | None]},
    **SCALES_FIELDS,
}
Arrays = tuple[NDArray[Any], NDArray[Any] | None]  # examples, and targets where they are known


def table_encoding(columns: Columns, mean: NDArray[np.float32], std: NDArray[np.float32]) -> Encoding:
    """How examples are made of a table like this one."""
    texts = [None if texts is None else list(texts) for texts in columns.categories.values()]
    described = {"target": columns.target, "columns": list(columns.categories), "texts": texts}
    return described | scales_encoding(mean, std)


def scales_encoding(mean: NDArray[np.float32], std: NDArray[np.float32]) -> dict[str, Any]:
    """How examples are made of numbers with this mean and deviation of each feature."""
    return {"mean": mean.ravel().tolist(), "std": std.ravel().tolist()}


def text_encoding(text: str) -> Encoding:
    """How examples are made of a text of these characters."""
    return {"characters": characters_of(text)}


def is_encoding(value: Any) -> bool:
    """Whether this is an encoding as it is written here."""
    if not fits(value, Mapping[str, Any]):
        return False
    if value.keys() == {"characters"}:
        return isinstance(value["characters"], str)
    known = SCALES_FIELDS if value.keys() == SCALES_FIELDS.keys() else TABLE_FIELDS
    if value.keys() != known.keys() or not all(fits(value[name], hint) for name, hint in known.items()):
        return False
    if known is SCALES_FIELDS:
        return len(value["mean"]) == len(value["std"])
    widths = [1 if texts is None else len(texts) for texts in value["texts"]]
    return len(widths) == len(value["columns"]) and len(value["mean"]) == len(value["std"]) == sum(widths)


def read_raw(path: Path, encoding: Encoding | None, input_shape: tuple[int, ...]) -> Arrays | None:
    """The examples in a table, a text or a folder of images, made as those of training were; None of anything else."""
    if path.is_dir() and len(input_shape) == 3:
        return images_in(str(path), path, channels=input_shape[0])
    if encoding is None or not path.is_file():
        return None
    if "characters" in encoding and path.suffix == TEXT_SUFFIX:
        return windows_of(str(path), read_text(path), encoding["characters"], *input_shape)
    if "columns" in encoding and path.suffix in TABLE_SUFFIXES:
        categories = dict(zip(encoding["columns"], encoding["texts"], strict=True))
        x, y = encoded_table(str(path), read_table(path), encoding["target"], categories)
        return _less_mean_over_std(as_float32(str(path), x), encoding), y
    return None


def as_standardised(x: NDArray[Any], encoding: Encoding | None) -> NDArray[Any]:
    """Raw examples "N ..." as those of training were made where these were standardised; else as they are."""
    if encoding is None or encoding.keys() != SCALES_FIELDS.keys():
        return x
    return _less_mean_over_std(x, encoding)


def _less_mean_over_std(x: NDArray[np.float32], encoding: Encoding) -> NDArray[np.float32]:
    mean, std = (np.array(encoding[name], np.float32).reshape(-1, *x.shape[1:]) for name in ("mean", "std"))
    return (x - mean) / std
