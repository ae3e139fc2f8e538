"""The data themselves, where they have two dimensions."""

import io
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from harness.errors import DamageError
from harness.io import read_bytes
from harness.reporting.figures.frame import COLORS, ReportFigure, canvas, label_text, legend
from harness.reporting.staleness import data_files
from harness.storage.tables import Results

MAX_BYTES = 64 * 2**20  # of the file, and of each array in it
MOST_EXAMPLES = 20_000  # drawn of each split
UNREADABLE = (OSError, ValueError, LookupError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
NAMES = ("x_train", "y_train", "x_test", "y_test")


def data_scatter(results: Results) -> Iterator[ReportFigure]:
    """Training and test examples, coloured by class."""
    for path in data_files(results.folder, results.manifest):
        arrays = read_data(path)
        if arrays["x_train"].shape[1:] != (2,) or arrays["x_test"].shape[1:] != (2,):
            continue
        name, drawn = path.stem, {}
        with canvas(3.7) as figure:
            panels = figure.subplots(1, 2, sharex=True, sharey=True)
            for axes, split in zip(panels, ("train", "test"), strict=True):
                x, y = arrays[f"x_{split}"][:MOST_EXAMPLES], arrays[f"y_{split}"][:MOST_EXAMPLES]
                for number in range(len(COLORS)):
                    here = y % len(COLORS) == number
                    if here.any():
                        label = (
                            f"class {label_text(int(y[here][0]))}"
                            if len(np.unique(y[here])) == 1
                            else "several classes"
                        )
                        axes.plot(*x[here].T, "o", ms=2.4, mew=0, alpha=0.7, color=COLORS[number], label=label)
                drawn[split] = len(arrays[f"y_{split}"])
                axes.set(title=f"{drawn[split]} {split} examples", xlabel="feature 1", aspect="equal")
            panels[0].set_ylabel("feature 2")
            legend(figure, panels)
        left_out = f" (the first {MOST_EXAMPLES})" if max(drawn.values()) > MOST_EXAMPLES else ""
        yield ReportFigure(
            name=f"data_{name}",
            title=f"The data: {name}",
            figure=figure,
            caption=f"Every example{left_out} at its two features, coloured by class, as the nets see them.",
            alt=(
                f"Scatter plots of {name}: {drawn['train']} training and {drawn['test']} test examples, "
                f"{len(np.unique(arrays['y_train']))} classes."
            ),
        )


def read_data(path: Path) -> dict[str, Any]:
    arrays = read_arrays(path, NAMES)
    for split in ("train", "test"):
        if arrays[f"y_{split}"].shape != arrays[f"x_{split}"].shape[:1]:
            raise DamageError(f"{path} has not one label for each example; remove it")
        if arrays[f"y_{split}"].dtype.kind not in "iu" or arrays[f"x_{split}"].dtype.kind != "f":
            raise DamageError(f"{path} has examples or labels of another type than numbers; remove it")
    return arrays


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """The arrays in a file that may come from a stranger: no more is unpacked than its members can honestly hold."""
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path, max_bytes=MAX_BYTES))) as file:
            return {name: _array(file, f"{name}.npy") for name in names}
    except UNREADABLE as error:
        raise DamageError(f"{path} holds no data as `run` writes them: {error}; remove it") from error


def _array(file: zipfile.ZipFile, name: str) -> Any:
    size = file.getinfo(name).file_size
    if size > MAX_BYTES:
        raise ValueError(f"{name} has {size} bytes, more than the {MAX_BYTES} that it can have")
    with file.open(name) as member:
        npy.read_magic(member)
        shape, _, kind = npy.read_array_header_1_0(member)
    if math.prod(shape) * kind.itemsize > size:
        raise ValueError(f"{name} claims the shape {shape}, more than its {size} bytes hold")
    with file.open(name) as member:
        return npy.read_array(member, allow_pickle=False)
