"""Where trained models draw the line between classes, where the data have two dimensions."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array

from harness.analysis import formatting, pairing
from harness.analysis.metrics import FAILED
from harness.errors import DamageError
from harness.reporting.figures.curves import telling_lrs
from harness.reporting.figures.data import read_arrays, read_data
from harness.reporting.figures.frame import COLORS, WIDTH, ReportFigure, canvas, label_text, over_lr, points_of, setting
from harness.reporting.staleness import data_files, plane_files
from harness.spec.manifest import Manifest
from harness.storage.tables import Results

MOST_ARMS = 4
MOST_EXAMPLES = 600  # drawn in each panel: more would hide what is behind them
UNKNOWN = 255  # the class where a model says nothing finite


def decision_boundaries(results: Results) -> Iterator[ReportFigure]:
    """The class that the models of one seed name all over the plane: rows of arms, columns of learning rates."""
    manifest = results.manifest
    planes = {path.stem: path for path in plane_files(results.folder)}
    data = {path.stem: path for path in data_files(results.folder, manifest)}
    if not (planes and data):
        return
    arms = pairing.arms(manifest)[:MOST_ARMS]
    for suffix, where, trials in points_of(results, *(["lr"] if over_lr(manifest) else [])):
        here = trials[trials["key"].isin(planes) & trials[manifest.compare].isin(arms)]
        here = here[here["dataset"].map(lambda name: Path(str(name)).stem).isin(data)]
        if here.empty:
            continue
        seed = here["seed"].iloc[0]
        examples = read_data(data[Path(str(here["dataset"].iloc[0])).stem])
        lrs = _columns(trials, here, manifest)
        with canvas(1.0 + 0.88 * WIDTH / max(3, len(lrs)) * len(arms)) as figure:
            panels = figure.subplots(len(arms), len(lrs), sharex=True, sharey=True, squeeze=False)
            for row, arm in zip(panels, arms, strict=True):
                for axes, lr in zip(row, lrs, strict=True):
                    mine = here[(here["seed"] == seed) & (here[manifest.compare] == arm)]
                    _panel(axes, mine if lr is None else mine[mine["lr"] == lr], planes, examples)
                row[0].set_ylabel(label_text(arm))
            for axes, lr in zip(panels[0], lrs, strict=True):
                title = axes.get_title()
                axes.set_title(title if lr is None else f"lr {formatting.value(lr)}\n{title}")
        yield ReportFigure(
            name=f"boundaries{suffix}",
            title="Where do the nets draw the line?" + (f" ({where})" if where else ""),
            figure=figure,
            caption=(
                f"Over both features, the class that a net names at each point after training (ground), and the first "
                f"{MOST_EXAMPLES} test examples at most (dots); above each panel its test accuracy. A white ground: no "
                f"finite output. n = 1, seed {seed}: an example, nothing is tested here. {setting(results)}"
            ),
            alt=f"Maps of the class named over two features: {formatting.listing(_said(here, seed, lrs, manifest))}.",
        )


def _columns(trials: pd.DataFrame, here: pd.DataFrame, manifest: Manifest) -> list[Any]:
    """The learning rates that get a column: two telling ones and the ends; a nameless one where they are no axis."""
    if not over_lr(manifest):
        return [None]
    known = set(here["lr"])
    return sorted(known & {*telling_lrs(trials, manifest, 2), min(known), max(known)})


def _panel(axes: Axes, trials: pd.DataFrame, planes: Mapping[str, Path], examples: Mapping[str, Any]) -> None:
    axes.grid(visible=False)
    if trials.empty:
        return
    trial = trials.iloc[0]
    x, y, classes = _read(planes[trial["key"]])
    axes.imshow(_tints(classes), extent=(x[0], x[-1], y[0], y[-1]), origin="lower", aspect="auto")
    axes.set_box_aspect(1)
    points, labels = examples["x_test"][:MOST_EXAMPLES], examples["y_test"][:MOST_EXAMPLES]
    colours = to_rgba_array([COLORS[label % len(COLORS)] for label in labels])
    axes.scatter(points[:, 0], points[:, 1], s=3, c=colours, linewidths=0, rasterized=True)
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    axes.set_title("failed" if trial["status"] in FAILED else _outcome(trial))


def _outcome(trial: Any) -> str:
    return (
        str(trial["status"]).replace("_", " ")
        if trial["status"] in FAILED
        else formatting.percent(trial["test_accuracy"])
    )


def _tints(classes: Any) -> Any:
    """A pale colour for each class, that of its dots; white where none is named."""
    pale = 1 - 0.32 * (1 - to_rgba_array(COLORS)[:, :3])
    tints = pale[classes % len(COLORS)]
    tints[classes == UNKNOWN] = 1.0
    return tints


def _read(path: Path) -> tuple[Any, Any, Any]:
    """Both sides and the classes of a file that may come from a stranger."""
    x, y, classes = read_arrays(path, ("x", "y", "classes")).values()
    shaped = x.ndim == y.ndim == 1 and classes.shape == (len(y), len(x)) and min(classes.shape) >= 2
    kinds = x.dtype.kind == y.dtype.kind == "f" and classes.dtype == np.uint8
    if not (shaped and kinds and np.isfinite(x).all() and np.isfinite(y).all() and x[0] < x[-1] and y[0] < y[-1]):
        raise DamageError(f"{path} holds no plane as `run` writes it; remove it")
    return x, y, classes


def _said(here: pd.DataFrame, seed: Any, lrs: list[Any], manifest: Manifest) -> list[str]:
    said = []
    for _, trial in here[here["seed"] == seed].iterrows():
        at = f" at lr {formatting.value(trial['lr'])}" if lrs != [None] else ""
        if not at or trial["lr"] in lrs:
            said.append(f"{formatting.value(trial[manifest.compare])}{at} {_outcome(trial)}")
    return said
