"""The data themselves, where they have two dimensions."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.errors import DamageError
from harness.files import read_bytes
from harness.reporting.figures.picture import COLOURS, Picture, canvas
from harness.store import Results

MAX_BYTES = 64 * 2**20
MOST_POINTS = 20_000
NAMES = ("x_train", "y_train", "x_test", "y_test")


def data_scatter(results: Results) -> Iterator[Picture]:
    """Training and test examples, coloured by class."""
    for path in sorted((results.folder / "data").glob("*.npz")):
        arrays = _read(path)
        if arrays["x_train"].shape[1:] != (2,):
            continue
        with canvas(3.4) as figure:
            panels = figure.subplots(1, 2, sharex=True, sharey=True)
            for axes, split in zip(panels, ("train", "test"), strict=True):
                x, y = arrays[f"x_{split}"][:MOST_POINTS], arrays[f"y_{split}"][:MOST_POINTS]
                for label in np.unique(y):
                    tint = COLOURS[int(label) % len(COLOURS)]
                    axes.plot(*x[y == label].T, "o", ms=2.2, mew=0, alpha=0.7, color=tint, label=f"class {label}")
                axes.set(title=f"{len(arrays[f'y_{split}'])} {split} examples", xlabel="feature 1", aspect="equal")
            panels[0].set_ylabel("feature 2")
            panels[1].legend(loc="upper right", markerscale=2)
        name = path.stem
        yield Picture(
            name=f"data_{name}",
            title=f"The data: {name}",
            figure=figure,
            caption="Every example at its two features, coloured by class, as the nets see them.",
            alt=f"Scatter plots of the training and the test examples of {name}, by class.",
        )


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(read_bytes(path, at_most=MAX_BYTES)), allow_pickle=False) as file:
            arrays = {name: file[name] for name in NAMES}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DamageError(f"{path} holds no data as `run` writes them: {error}; remove it") from error
    for split in ("train", "test"):
        if len(arrays[f"x_{split}"]) != len(arrays[f"y_{split}"]):
            raise DamageError(f"{path} has not as many labels as examples; remove it")
    return arrays
