"""The data themselves, where they have two dimensions."""

import io
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from numpy.lib import format as npy

from harness.errors import DamageError
from harness.io import read_bytes
from harness.reporting.figures.drawing import canvas
from harness.reporting.figures.frame import ReportFigure, ResultSlice, report_figure
from harness.reporting.figures.style import COLORS
from harness.reporting.upkeep.staleness import data_files
from harness.storage.tables import Results

MAX_DATA_BYTES = 64 * 2**20  # of the file, and of each array in it
MAX_EXAMPLES = 20_000  # drawn of each split
UNREADABLE = (OSError, ValueError, LookupError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
NAMES = ("x_train", "y_train", "x_test", "y_test")


def data_scatter(results: Results) -> Iterator[ReportFigure]:
    """Training and test examples, coloured by class."""
    data = ResultSlice.whole(results)
    for path in data_files(results.folder, results.manifest):
        arrays = read_data(path)
        if arrays["x_train"].shape[1:] != (2,) or arrays["x_test"].shape[1:] != (2,) or not has_classes(arrays):
            continue
        counts = {split: len(arrays[f"y_{split}"]) for split in ("train", "test")}
        with canvas(3.7) as figure:
            panels = figure.subplots(1, 2, sharex=True, sharey=True)
            for axes, (split, count) in zip(panels, counts.items(), strict=True):
                _draw_classes(axes, arrays[f"x_{split}"][:MAX_EXAMPLES], arrays[f"y_{split}"][:MAX_EXAMPLES])
                axes.set(title=f"{count} {split} examples", xlabel="feature 1", ylabel="", aspect="equal")
            panels[0].set_ylabel("feature 2")
        classes = len(np.unique(arrays["y_train"]))
        left_out = f" (the first {MAX_EXAMPLES})" if max(counts.values()) > MAX_EXAMPLES else ""
        repeated = f"; with {classes} classes, colours repeat" if classes > len(COLORS) else ""
        yield report_figure(
            data,
            figure,
            name=f"data_{path.stem}",
            title=f"The data: {path.stem}",
            caption=f"Every example{left_out} at its two features, coloured by class, as the nets see them{repeated}.",
            alt=(
                f"Scatter plots of {path.stem}: {counts['train']} training and {counts['test']} test examples, "
                f"{classes} classes."
            ),
            shows_trials=False,
        )


def _draw_classes(axes: Axes, x: Any, y: Any) -> None:
    """A dot for each example; classes are named in the legend as long as each has a colour of its own."""
    classes = np.unique(y)
    palette = {f"class {label}": COLORS[label % len(COLORS)] for label in classes}
    hue = {"hue": [f"class {label}" for label in y], "hue_order": list(palette), "palette": palette}
    is_named = len(classes) <= len(COLORS)
    sns.scatterplot(
        x=x[:, 0], y=x[:, 1], **hue, s=6, linewidth=0, alpha=0.7, legend="full" if is_named else False, ax=axes
    )
    if panel_legend := axes.get_legend():
        panel_legend.remove()


def has_classes(arrays: Mapping[str, Any]) -> bool:
    """Whether each example has one class: other tasks have numbers or several labels."""
    return all(
        arrays[f"y_{split}"].ndim == 1 and arrays[f"y_{split}"].dtype.kind in "iu" for split in ("train", "test")
    )


def read_data(path: Path) -> dict[str, Any]:
    arrays = read_arrays(path, NAMES)
    for split in ("train", "test"):
        if arrays[f"y_{split}"].shape[:1] != arrays[f"x_{split}"].shape[:1]:
            raise DamageError(f"{path} has not one label for each example; remove it")
        if arrays[f"y_{split}"].dtype.kind not in "iuf" or arrays[f"x_{split}"].dtype.kind not in "iuf":
            raise DamageError(f"{path} has examples or labels of another type than numbers; remove it")
    return arrays


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """The arrays in a file that may come from a stranger: no more is unpacked than its members can honestly hold."""
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path, max_bytes=MAX_DATA_BYTES))) as file:
            return {name: _array(file, f"{name}.npy") for name in names}
    except UNREADABLE as error:
        raise DamageError(f"{path} holds no data as `run` writes them: {error}; remove it") from error


def _array(file: zipfile.ZipFile, name: str) -> Any:
    size = file.getinfo(name).file_size
    if size > MAX_DATA_BYTES:
        raise ValueError(f"{name} has {size} bytes, more than the {MAX_DATA_BYTES} that it can have")
    with file.open(name) as member:
        npy.read_magic(member)
        shape, _, dtype = npy.read_array_header_1_0(member)
    if math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"{name} claims the shape {shape}, more than its {size} bytes hold")
    with file.open(name) as member:
        return npy.read_array(member, allow_pickle=False)
