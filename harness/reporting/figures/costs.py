"""What does a step cost? The time of a step with each arm, for suites whose claims ask."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from harness.analysis import formatting, pairing
from harness.analysis.metrics import FINISHED
from harness.analysis.stats import mean_interval, seeds_needed
from harness.reporting.figures.drawing import canvas, numbers_on_log_axis
from harness.reporting.figures.frame import UNTESTED, ReportFigure, ResultSlice, claims_of, report_figure
from harness.reporting.figures.style import label_text
from harness.reporting.svg import mark_titles
from harness.storage.tables import Results

ROW_HEIGHT = 0.13  # inches, of an arm
MAX_SHOWN = 24  # grid points
Times = Mapping[Any, NDArray[np.float64]]  # arm -> milliseconds of a step, one for each measurement


def step_costs(results: Results) -> Iterator[ReportFigure]:
    """Where a claim is on costs: a row for each grid point with a mark for each arm, on a log axis of milliseconds.

    The ratios that the claims speak of have their pictures beside the verdicts.
    """
    data = ResultSlice.whole(results)
    points = _times_by_point(data) if any(claims_of(results, "costs")) else []
    shown = points[:MAX_SHOWN]
    if not shown:
        return
    with canvas(1.3 + len(shown) * (0.15 + ROW_HEIGHT * len(data.arms)), data.compare) as figure:
        _draw_times(figure.subplots(), shown, data)
    counts = sorted({len(times) for _, by_arm in shown for times in by_arm.values()})
    least = f"{counts[0]} to " if len(counts) > 1 else ""
    yield report_figure(
        data,
        figure,
        name="costs",
        title="How long does a step take?",
        caption=(
            "The time of a step with each arm: marks are geometric means, bars their 95 % t intervals over the "
            "logarithms. Trials that trained together are one measurement."
        ),
        alt=f"Milliseconds of a step: {'; '.join(_in_words(point, by_arm) for point, by_arm in shown)}.",
        shown=(len(shown), len(points), "grid points"),
        sample=f"n = {least}{formatting.count(counts[-1], 'measurement')}, {UNTESTED}.",
    )


def _times_by_point(data: ResultSlice) -> list[tuple[str, Times]]:
    """The times of a step with each arm at each grid point that has any, by the names of these points."""
    times = data.results.telemetry.set_index("key")["step_ms"].astype("float64")
    trials = data.trials[data.trials["status"].isin(FINISHED)]
    trials = trials.assign(step_ms=trials["key"].map(times)).dropna(subset=["step_ms"])
    return [
        (formatting.point(point), {arm: of_arm["step_ms"].unique() for arm, of_arm in data.by_arm(rows)})
        for point, rows in pairing.by_point(trials, pairing.axes(data.manifest))
    ]


def _draw_times(axes: Axes, points: Sequence[tuple[str, Times]], data: ResultSlice) -> None:
    axes.set_xscale("log")
    offsets = dict(zip(data.arms, np.linspace(-0.32, 0.32, len(data.arms)), strict=True))
    first = {arm: row for row, (_, by_arm) in reversed([*enumerate(points)]) for arm in by_arm}  # where it has times
    for row, (point, by_arm) in enumerate(points):
        for arm, times in by_arm.items():
            mean, low, high = np.exp(mean_interval(np.log(times)))
            title = mark_titles([f"{label_text(arm)}, {point or 'all'}: {formatting.number(float(mean))} ms"])
            look: Any = {"color": data.palette[arm], "gid": title}
            y = row + offsets[arm]
            if len(times) >= seeds_needed():
                axes.plot([low, high], [y, y], lw=1.6, solid_capstyle="butt", **look)
            label = label_text(arm) if row == first[arm] else None
            axes.plot([mean], [y], "o", ms=5.5, label=label, **look)
    axes.set_yticks(range(len(points)), [label_text(point) or "all" for point, _ in points])
    axes.set(xlabel="time of a step, ms", ylim=(len(points) - 0.5, -0.5))
    for between in range(1, len(points)):
        axes.axhline(between - 0.5, color="#e3e3e3", lw=0.6)
    axes.grid(visible=False, axis="y")
    numbers_on_log_axis(axes)


def _in_words(point: str, by_arm: Times) -> str:
    means = [
        f"{formatting.value(arm)} {formatting.number(float(np.exp(np.log(times).mean())))}"
        for arm, times in by_arm.items()
    ]
    return f"{point}{' ' if point else ''}{formatting.listing(means)}"
