"""Where in the plane of learning rate and batch size does each arm train, and where do the arms differ?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from harness.analysis import formatting, pairing
from harness.analysis.measures.measure import Measure
from harness.analysis.validation import over_lr
from harness.reporting.figures.batches import has_batch_sizes, score_in_units
from harness.reporting.figures.drawing import canvas, difference_label, plain_numbers, spans_decades
from harness.reporting.figures.frame import ReportFigure, points_of, report_figure
from harness.reporting.figures.style import label_text
from harness.spec.manifest import Manifest
from harness.storage.tables import Results

AXES = ("batch_size", "lr")
MAX_MAPS = 4  # arms beside each other
MAX_NUMBERS = 14  # cells beside each other, of all maps together, that have room for one
MAX_LONG_NUMBERS = 8  # if it is not a whole number of points
LEVEL_COLORS, GAP_COLORS = "cividis", "PuOr"  # colour-blind safe: one from low to high, one with a middle
MAX_TICKS = 4  # learning rates named below a map

Maps = Mapping[Any, pd.DataFrame]  # arm -> a row for each batch size, a column for each learning rate


def lr_and_batch_size(results: Results) -> Iterator[ReportFigure]:
    """Mean score over lr and batch size: a map for each arm, and below it one of its difference."""
    if not (over_lr(results.manifest) and has_batch_sizes(results.manifest)):
        return
    for data in points_of(results, "lr", "batch_size"):
        arms, metric = data.arms[:MAX_MAPS], data.metric
        scores = {arm: score_in_units(data, arm, *AXES) for arm in {*arms, data.baseline}}
        levels = {arm: _as_map(scores[arm], data.manifest) for arm in arms}
        gaps = {
            arm: _as_map(metric.sign * (scores[arm] - scores[data.baseline]), data.manifest)
            for arm in arms
            if arm != data.baseline
        }
        if all(level.isna().all(axis=None) for level in levels.values()):
            continue
        rows, in_points = 2 if gaps else 1, metric.unit is formatting.POINTS
        with canvas(1.5 + rows * (0.5 + 0.32 * len(levels[arms[0]]))) as figure:
            panels = figure.subplots(rows, len(arms), sharex=True, sharey=True, squeeze=False)
            panels_of = [dict(zip(arms, row, strict=True)) for row in panels]
            _draw_maps(
                figure,
                panels_of[0],
                levels,
                LEVEL_COLORS,
                _full_norm(levels, metric),
                f"mean {_level_words(metric)}",
                is_in_points=in_points,
            )
            if gaps:
                label = difference_label(metric, label_text(data.baseline))
                _draw_maps(
                    figure, panels_of[1], gaps, GAP_COLORS, _symmetric_norm(gaps, metric), label, is_in_points=in_points
                )
            _label_axes(panels, levels[arms[0]])
            for arm, axes in panels_of[0].items():
                axes.set_title(label_text(arm))
        yield report_figure(
            data,
            figure,
            name="lr_and_batch_size",
            title="At which learning rates and batch sizes?",
            caption=(
                f"Above, the mean {metric.words} of each arm{_in_unit(metric, '%')}; below, the mean paired difference "
                f"from {formatting.value(data.baseline)}{_in_unit(metric, 'points')}"
                f"{'' if metric.sign > 0 else ', above 0 where the arm is better'}. A cell without a result is "
                f"crossed out."
            ),
            alt=(
                f"Heat maps over learning rate and batch size. Mean {metric.words}: "
                f"{formatting.listing(_ranges_in_words(levels, metric))}."
            ),
            shown=(len(arms), len(data.arms), "arms"),
        )


def _as_map(scores: "pd.Series[float]", manifest: Manifest) -> pd.DataFrame:
    """The means over seeds, with NaN where there is no result."""
    sizes, lrs = (sorted(pairing.values(manifest, axis)) for axis in AXES)
    return scores.groupby(list(AXES)).mean().unstack("lr").reindex(index=sizes, columns=lrs)


def _in_unit(metric: Measure, of_fractions: str) -> str:
    name = of_fractions if metric.unit is formatting.POINTS else metric.unit.name
    return f" in {name}" if name else ""


def _level_words(metric: Measure) -> str:
    return f"{metric.words}{_in_unit(metric, '%')}"


def _full_norm(maps: Maps, metric: Measure) -> Normalize:
    cells = np.concatenate([level.to_numpy().ravel() for level in maps.values()])
    scale = LogNorm if spans_decades(cells, metric) else Normalize
    return scale(float(np.nanmin(cells)), float(np.nanmax(cells)))


def _symmetric_norm(maps: Maps, metric: Measure) -> Normalize:
    """As far below 0 as above: the middle of the colours is no difference."""
    least = 0.1 if metric.unit is formatting.POINTS else 1e-9
    furthest = max(float(np.nanmax(np.abs(gap.to_numpy()), initial=least)) for gap in maps.values())
    return Normalize(-furthest, furthest)


def _draw_maps(
    figure: Figure,
    panels: Mapping[Any, Axes],
    maps: Maps,
    colors: str,
    norm: Normalize,
    label: str,
    *,
    is_in_points: bool,
) -> None:
    """The maps of one row on one scale; the panels of arms that have none stay empty."""
    for arm, axes in panels.items():
        axes.grid(visible=False)
        if arm not in maps:
            axes.set_visible(False)
            continue
        values = maps[arm]
        has_numbers = len(panels) * values.shape[1] <= (MAX_NUMBERS if is_in_points else MAX_LONG_NUMBERS)
        numbers = values.map(_cell_number if is_in_points else formatting.number)
        sns.heatmap(
            values,
            cmap=colors,
            norm=norm,
            vmin=norm.vmin,  # else it looks for them in the values, and warns where there are none
            vmax=norm.vmax,
            annot=numbers if has_numbers else None,
            fmt="",
            annot_kws={"size": 7},
            cbar=False,
            xticklabels=False,
            yticklabels=False,
            ax=axes,
        )
        axes.invert_yaxis()
        axes.set(xlabel="", ylabel="")
        y, x = np.nonzero(values.isna().to_numpy())
        if len(x):
            axes.plot(x + 0.5, y + 0.5, "x", ms=5, mew=0.8, color="#767676")
    bar = figure.colorbar(ScalarMappable(norm, colors), ax=list(panels.values()), label=label, aspect=12)
    if not is_in_points:
        plain_numbers(bar.ax.yaxis)


def _cell_number(level: float) -> str:
    """Whole points: there is no room for more."""
    return f"{level:z.0f}".replace("-", formatting.MINUS)


def _label_axes(panels: Any, cells: pd.DataFrame) -> None:
    every = -(-len(cells.columns) // MAX_TICKS)
    for row in panels:
        row[0].set_yticks(np.arange(len(cells)) + 0.5, [formatting.value(size) for size in cells.index], rotation=0)
        row[0].set_ylabel("batch size")
    for column in panels.T:
        lowest = [axes for axes in column if axes.get_visible()][-1]
        positions = np.arange(0, len(cells.columns), every) + 0.5
        lowest.set_xticks(positions, [formatting.value(lr) for lr in cells.columns[::every]])
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel("learning rate")


def _ranges_in_words(maps: Maps, metric: Measure) -> Sequence[str]:
    def words(low: float, high: float) -> str:
        if metric.unit is formatting.POINTS:
            return f"{low:.1f} to {high:.1f} %"
        return f"{formatting.number(low)} to {formatting.number(high)} {metric.unit.name}".rstrip()

    return [
        f"{formatting.value(arm)} {words(float(np.nanmin(level)), float(np.nanmax(level)))}"
        for arm, level in maps.items()
        if not level.isna().all(axis=None)
    ]
