"""Where in the plane of learning rate and batch size does each arm train, and where do the arms differ?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from harness.analysis import formatting, pairing
from harness.analysis.metrics import score_words
from harness.reporting.figures.batches import has_batch_sizes
from harness.reporting.figures.frame import (
    ReportFigure,
    baseline_arm,
    canvas,
    counted,
    label_text,
    over_lr,
    points_of,
    seeds,
    setting,
)
from harness.spec.manifest import Manifest
from harness.storage.tables import Results

METRIC = "test_accuracy"
MOST_ARMS = 4  # beside each other
MOST_NUMBERS = 14  # cells beside each other, of all maps together, that have room for one
VALUES, GAPS = "cividis", "PuOr"  # colour-blind safe: one from low to high, one with a middle

Array = NDArray[np.float64]
Cells = tuple[Sequence[int], Sequence[float]]  # batch sizes, learning rates


def lr_and_batch_size(results: Results) -> Iterator[ReportFigure]:
    """Mean accuracy over lr and batch size: a map for each arm, and below it one of its difference."""
    manifest = results.manifest
    if not (over_lr(manifest) and has_batch_sizes(manifest)):
        return
    cells = sorted(pairing.values(manifest, "batch_size")), sorted(pairing.values(manifest, "lr"))
    than, arms = baseline_arm(manifest), pairing.arms(manifest)[:MOST_ARMS]
    for suffix, where, trials in points_of(results, "lr", "batch_size"):
        levels = {arm: _levels(trials, manifest, arm, cells) for arm in arms}
        gaps = {arm: _gaps(trials, manifest, (arm, than), cells) for arm in arms if arm != than}
        if all(np.isnan(level).all() for level in levels.values()):
            continue
        with canvas(1.5 + (2 if gaps else 1) * (0.5 + 0.32 * len(cells[0]))) as figure:
            panels = figure.subplots(2 if gaps else 1, len(arms), sharex=True, sharey=True, squeeze=False)
            places = [dict(zip(arms, row, strict=True)) for row in panels]
            _maps(places[0], levels, (VALUES, _scale(levels.values())), "mean test accuracy in %")
            if gaps:
                _maps(places[1], gaps, (GAPS, _both_ways(gaps.values())), f"points against {label_text(than)}")
            _name_cells(panels, cells)
            for arm, axes in places[0].items():
                axes.set_title(label_text(arm))
        left_out = len(pairing.arms(manifest)) - len(arms)
        shown = f"Shown: {len(arms)} of {len(arms) + left_out} arms. " if left_out else ""
        yield ReportFigure(
            name=f"lr_and_batch_size{suffix}",
            title="At which learning rates and batch sizes?" + (f" ({where})" if where else ""),
            figure=figure,
            caption=(
                f"Above, the mean test accuracy of each arm in %; below, the mean paired difference from "
                f"{formatting.value(than)} in points. A cell without a result is crossed out. {shown}{seeds(trials)} "
                f"{counted(trials, manifest)} {score_words(METRIC)} {setting(results)}"
            ),
            alt=(
                f"Heat maps over learning rate and batch size. Mean test accuracy: {formatting.listing(_said(levels))}."
            ),
        )


def _levels(trials: pd.DataFrame, manifest: Manifest, arm: Any, cells: Cells) -> Array:
    """Mean accuracy in %, failures scored by policy: [batch size, lr], NaN where there is no result."""
    scored = pairing.score_units(trials[trials[manifest.compare] == arm], METRIC)
    return _table(100 * scored.groupby(["batch_size", "lr"])["score"].mean(), cells)


def _gaps(trials: pd.DataFrame, manifest: Manifest, of: tuple[Any, Any], cells: Cells) -> Array:
    pairs = pairing.metric_pairs(trials, manifest, *of, METRIC)
    means = {
        tuple(pair.ours.units[["batch_size", "lr"]].iloc[0]): 100 * pair.differences.mean()
        for pair in pairs
        if len(pair.differences)
    }
    return _table(means, cells)


def _table(of: Any, cells: Cells) -> Array:
    return np.array([[of.get((size, lr), np.nan) for lr in cells[1]] for size in cells[0]], dtype="float64")


def _scale(levels: Any) -> Normalize:
    every = np.concatenate([level.ravel() for level in levels])
    return Normalize(float(np.nanmin(every)), float(np.nanmax(every)))


def _both_ways(gaps: Any) -> Normalize:
    """As far below 0 as above: the middle of the colours is no difference."""
    furthest = max((float(np.nanmax(np.abs(gap), initial=0.1)) for gap in gaps), default=0.1)
    return Normalize(-furthest, furthest)


def _maps(places: Mapping[Any, Axes], levels: Mapping[Any, Array], look: tuple[str, Normalize], label: str) -> None:
    """The maps of one row on one scale; the panels of arms that have none stay empty."""
    image = None
    for arm, axes in places.items():
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        if arm not in levels:
            axes.set_visible(False)
            continue
        image = axes.imshow(levels[arm], cmap=look[0], norm=look[1], aspect="auto", origin="lower")
        for y, x in np.ndindex(levels[arm].shape):
            level = float(levels[arm][y, x])
            if np.isnan(level):
                axes.plot([x], [y], "x", ms=5, mew=0.8, color="#767676")
            elif len(places) * levels[arm].shape[1] <= MOST_NUMBERS:
                _write(axes, (x, y), level, image.to_rgba(levels[arm][y, x]))
    if image is not None:
        figure = image.get_figure()
        assert figure is not None
        figure.colorbar(image, ax=list(places.values()), label=label, aspect=12)


def _write(axes: Axes, at: tuple[int, int], level: float, tint: Any) -> None:
    """The number of a cell, dark or light as its ground asks for."""
    light = float(np.dot(tint[:3], (0.299, 0.587, 0.114))) < 0.5
    text = f"{level:z.0f}".replace("-", formatting.MINUS)
    axes.text(*at, text, size=7, ha="center", va="center", color="#ffffff" if light else "#000000")


def _name_cells(panels: Any, cells: Cells) -> None:
    sizes, lrs = cells
    every = -(-len(lrs) // 4)
    for row in panels:
        row[0].set_yticks(range(len(sizes)), [formatting.value(size) for size in sizes])
        row[0].set_ylabel("batch size")
    for column in panels.T:
        lowest = [axes for axes in column if axes.get_visible()][-1]
        lowest.set_xticks(range(0, len(lrs), every), [formatting.value(lr) for lr in lrs[::every]])
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel("learning rate")


def _said(levels: Mapping[Any, Array]) -> list[str]:
    return [
        f"{formatting.value(arm)} {np.nanmin(level):.1f} to {np.nanmax(level):.1f} %"
        for arm, level in levels.items()
        if not np.isnan(level).all()
    ]
