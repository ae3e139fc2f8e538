"""What own training has logged on its way, every seed a line."""

from collections.abc import Iterator

import pandas as pd
from matplotlib.axes import Axes

from harness.analysis import formatting
from harness.reporting.figures.drawing import canvas, lines_per_trial, plain_numbers
from harness.reporting.figures.frame import ReportFigure, ResultSlice, points_of, report_figure
from harness.reporting.figures.style import label_text
from harness.spec.measured import LOGGED
from harness.storage.tables import Results

MAX_CURVES = 4  # that get a panel


def logged_curves(results: Results) -> Iterator[ReportFigure]:
    """One figure for each grid point, with a panel for each of the first curves."""
    logged = results.curves[results.curves["split"] == LOGGED]
    for data in points_of(results):
        columns = list(dict.fromkeys(["key", "seed", data.compare]))
        curves = logged.merge(data.trials[columns], on="key")
        names = list(dict.fromkeys(curves["metric"]))
        if not names:
            continue
        shown = names[:MAX_CURVES]
        with canvas(3.3, data.compare) as figure:
            panels = figure.subplots(1, len(shown), squeeze=False)[0]
            for axes, name in zip(panels, shown, strict=True):
                _draw(axes, curves[curves["metric"] == name], data)
                axes.set(title=label_text(formatting.axis(name)), xlabel="step")
        listed = formatting.listing(formatting.axis(name) for name in shown)
        yield report_figure(
            data,
            figure,
            name="curves",
            title="How does training go?",
            caption="What was logged: every seed is a thin line, and their mean, where all have a value, is thick.",
            alt=f"Curves by arm of {listed}, a line per seed.",
            shown=(len(shown), len(names), "curves"),
        )


def _draw(axes: Axes, curves: pd.DataFrame, data: ResultSlice) -> None:
    lines_per_trial(axes, curves, "step", data)
    for arm, rows in data.by_arm(curves):
        mean = rows.pivot(index="step", columns="key", values="value").mean(axis=1, skipna=False)
        axes.plot(mean.index, mean, lw=1.8, label=label_text(arm), **data.line(arm))
    plain_numbers(axes.yaxis)
