"""Where trained models draw the line between classes, where the data have two dimensions."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array

from harness.analysis import formatting
from harness.analysis.metrics import FAILED
from harness.analysis.validation import over_lr
from harness.errors import DamageError
from harness.reporting.figures.curves import telling_lrs
from harness.reporting.figures.data import has_classes, read_arrays, read_data
from harness.reporting.figures.drawing import canvas
from harness.reporting.figures.frame import ReportFigure, ResultSlice, points_of, report_figure
from harness.reporting.figures.style import COLORS, WIDTH, label_text
from harness.reporting.upkeep.staleness import data_files, plane_files
from harness.spec.own_code.data_files import drawn_name
from harness.storage.tables import Results

MAX_ROWS = 4  # arms below each other
MAX_DOTS = 600  # test examples in each panel: more would hide what is behind them
NO_CLASS = 255  # the class where a model says nothing finite


def boundary_maps(results: Results) -> Iterator[ReportFigure]:
    """The class that the models of one seed name all over the plane: rows of arms, columns of learning rates."""
    planes = {path.stem: path for path in plane_files(results.folder)}
    datasets = {path.stem: path for path in data_files(results.folder, results.manifest)}
    if not (planes and datasets):
        return
    for data in points_of(results, *(["lr"] if over_lr(results.manifest) else [])):
        arms = data.arms[:MAX_ROWS]
        trials = data.trials[data.trials["key"].isin(planes) & data.trials[data.compare].isin(arms)]
        trials = trials[[_drawn_name(trial) in datasets for trial in _rows(trials)]]
        if trials.empty:
            continue
        seed = trials["seed"].iloc[0]
        lrs = _lr_columns(data, trials)
        trials = trials[trials["seed"] == seed]
        examples = {name: read_data(datasets[name]) for name in dict.fromkeys(map(_drawn_name, _rows(trials)))}
        if not all(map(has_classes, examples.values())):
            continue
        with canvas(1.0 + 0.88 * WIDTH / max(3, len(lrs)) * len(arms)) as figure:
            panels = figure.subplots(len(arms), len(lrs), sharex="row", sharey="row", squeeze=False)
            for row, arm in zip(panels, arms, strict=True):
                for axes, lr in zip(row, lrs, strict=True):
                    rows = trials[trials[data.compare] == arm]
                    _draw_plane(axes, rows if lr is None else rows[rows["lr"] == lr], planes, examples)
                row[0].set_ylabel(label_text(arm))
            for axes, lr in zip(panels[0], lrs, strict=True):
                outcome = axes.get_title()
                axes.set_title(outcome if lr is None else f"lr {formatting.value(lr)}\n{outcome}")
        yield report_figure(
            data,
            figure,
            name="boundaries",
            title="Where do the nets draw the line?",
            caption=(
                f"Over both features, the class that a net names at each point after training (ground), and the first "
                f"{MAX_DOTS} test examples at most (dots); above each panel its test accuracy. A white ground: no "
                f"finite output."
            ),
            alt=f"Maps of the class named over two features: {formatting.listing(_outcomes(data, trials, lrs))}.",
            shown=(len(arms), len(data.arms), "arms"),
            sample=f"n = 1, seed {seed}: an example, nothing is tested here.",
        )


def _rows(trials: pd.DataFrame) -> Iterator[Any]:
    return (trial for _, trial in trials.iterrows())


def _drawn_name(trial: Any) -> str:
    return drawn_name(trial["dataset"], standardize=bool(trial.get("standardize") == 1))


def _lr_columns(data: ResultSlice, trials: pd.DataFrame) -> list[Any]:
    """The learning rates that get a column: two telling ones and the ends; a nameless one where they are no axis."""
    if not over_lr(data.manifest):
        return [None]
    drawn = set(trials["lr"])
    return sorted(drawn & {*telling_lrs(data, 2), min(drawn), max(drawn)})


def _draw_plane(
    axes: Axes, trials: pd.DataFrame, planes: Mapping[str, Path], examples: Mapping[str, Mapping[str, Any]]
) -> None:
    axes.grid(visible=False)
    if trials.empty:
        return
    trial = trials.iloc[0]
    x, y, classes = _read_plane(planes[trial["key"]])
    axes.imshow(_tints(classes), extent=(x[0], x[-1], y[0], y[-1]), origin="lower", aspect="auto")
    axes.set_box_aspect(1)
    points, labels = (examples[_drawn_name(trial)][name][:MAX_DOTS] for name in ("x_test", "y_test"))
    colors = to_rgba_array([COLORS[label % len(COLORS)] for label in labels])
    axes.scatter(points[:, 0], points[:, 1], s=3, c=colors, linewidths=0, rasterized=True)
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    axes.set_title("failed" if trial["status"] in FAILED else _outcome(trial))


def _outcome(trial: Any) -> str:
    if trial["status"] in FAILED:
        return str(trial["status"]).replace("_", " ")
    return formatting.percent(trial["test_accuracy"])


def _tints(classes: Any) -> Any:
    """A pale colour for each class, that of its dots; white where none is named."""
    pale = 1 - 0.32 * (1 - to_rgba_array(COLORS)[:, :3])
    tints = pale[classes % len(COLORS)]
    tints[classes == NO_CLASS] = 1.0
    return tints


def _read_plane(path: Path) -> tuple[Any, Any, Any]:
    """Both sides and the classes of a file that may come from a stranger."""
    x, y, classes = read_arrays(path, ("x", "y", "classes")).values()
    has_shape = x.ndim == y.ndim == 1 and classes.shape == (len(y), len(x)) and min(classes.shape) >= 2
    has_dtypes = x.dtype.kind == y.dtype.kind == "f" and classes.dtype == np.uint8
    if not (has_shape and has_dtypes and _is_increasing(x) and _is_increasing(y)):
        raise DamageError(f"{path} holds no plane as `run` writes it; remove it")
    return x, y, classes


def _is_increasing(side: Any) -> bool:
    return bool(np.isfinite(side).all() and side[0] < side[-1])


def _outcomes(data: ResultSlice, trials: pd.DataFrame, lrs: list[Any]) -> Iterator[str]:
    """What became of each model, in words."""
    for _, trial in trials.iterrows():
        at = f" at lr {formatting.value(trial['lr'])}" if lrs != [None] else ""
        if not at or trial["lr"] in lrs:
            yield f"{formatting.value(trial[data.compare])}{at} {_outcome(trial)}"
