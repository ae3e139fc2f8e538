"""What a picture is, and how all of them look: colours, sizes, and files that are the same bytes every time."""

import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from textwrap import fill
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import LogFormatter

from harness.analysis import formatting, pairing
from harness.analysis.comparison import Comparison
from harness.analysis.metrics import FAILED, FINISHED
from harness.reporting.staleness import FORMATS
from harness.spec.manifest import Manifest
from harness.storage.tables import Results

WIDTH = 5.2  # inches: in a column of 3.35, as most papers have, the text is of 6 points
MAX_POINTS = 6  # grid points that get a picture of their own; the tables have all of them
MAX_LABEL_LENGTH = 40  # of a name in a figure
LETTERS = 72  # that stand in a row as wide as a figure
LETTERS_BELOW = 62  # of the label of an axis on a line
MAX_TICKS = 7  # learning rates that each have a number below them

# Okabe & Ito 2008: told apart by colour-blind eyes. Norms keep their colour in every report.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
NORM_COLORS = {
    "none": "#595959",
    "batch": "#0072B2",
    "layer": "#D55E00",
    "group": "#009E73",
    "instance": "#CC79A7",
    "sync_batch": "#56B4E9",
    "ghost_batch": "#E69F00",
}
DASHES = ("-", (0, (5, 1.2)), (0, (1.5, 1)), (0, (6, 1, 1.5, 1)))  # a line that lies on another leaves it visible
STYLE: Any = {
    # Nothing of a user's own style: the same results are to give the same bytes everywhere.
    **{name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")},
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "text.parse_math": False,  # names come from suites: a `$` or a backslash in one is text, not a formula
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "harness",
    "svg.fonttype": "path",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFigure:
    """A figure with all that stands around it on a page."""

    name: str  # of its files
    title: str
    figure: Figure
    caption: str
    alt: str  # what the figure shows, for those who can't see it
    comparisons: tuple[Comparison, ...] = ()

    def files(self) -> dict[str, bytes]:
        """The figure as files, by their names."""
        return {f"{self.name}.{kind}": _bytes(self.figure, kind, without) for kind, without in FORMATS.items()}


def _bytes(figure: Figure, kind: str, metadata: Mapping[str, Any]) -> bytes:
    sink = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(sink, format=kind, dpi=160, metadata=dict(metadata))
    return sink.getvalue()


@contextmanager
def canvas(height: float, width: float = WIDTH) -> Iterator[Figure]:
    """An empty figure in the style of all; laid out on leaving, once for all formats."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        figure.draw_without_rendering()
        figure.set_layout_engine(None)


def legend(figure: Figure, panels: Iterable[Axes], title: Any = "") -> None:
    """One legend above all panels, where it hides nothing; an arm that stands in several panels is named once."""
    named: dict[str, Any] = {}
    for axes in panels:
        named |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if named:
        fit = max(1, LETTERS // (8 + max(map(len, named))))
        rows = -(-len(named) // fit)
        columns = -(-len(named) // rows)
        figure.legend(
            list(named.values()), list(named), title=label_text(title), loc="outside upper center", ncols=columns
        )


def shared_xlabel(figure: Figure, label: str) -> None:
    """The label of the x axis below all of the figure: names of grid points leave the axes less room than it needs."""
    figure.supxlabel(fill(label, LETTERS_BELOW), size="medium")


def color_of(arm: Any, arms: list[Any]) -> str:
    """The colour of an arm: that of its norm, else by its place in the suite."""
    known = NORM_COLORS.get(arm) if isinstance(arm, str) else None
    return known or COLORS[arms.index(arm) % len(COLORS)]


def line_of(arm: Any, arms: list[Any]) -> Any:
    """How the line of an arm looks: its colour, and dashes that let the lines of earlier arms show through."""
    return {"color": color_of(arm, arms), "ls": DASHES[arms.index(arm) % len(DASHES)]}


def label_text(text: Any) -> str:
    """Text of a suite for a figure: of a length that fits, in letters that the font has."""
    shown = formatting.value(text)
    shown = shown if len(shown) <= MAX_LABEL_LENGTH else f"{shown[: MAX_LABEL_LENGTH - 1]}\N{HORIZONTAL ELLIPSIS}"
    return "".join(letter if ord(letter) in _letters() else "\N{REPLACEMENT CHARACTER}" for letter in shown)


@cache
def _letters() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def baseline_arm(manifest: Manifest) -> Any:
    """The arm that others are compared with: that of the first claim, else none, else the last."""
    arms = pairing.arms(manifest)
    claimed = [declared.claim.than for declared in manifest.claims]
    return next((arm for arm in [*claimed, "none"] if arm in arms), arms[-1])


def over_lr(manifest: Manifest) -> bool:
    """Whether the suite has an axis of learning rates to draw along: not where these are the arms."""
    return "lr" in manifest.axes and manifest.compare != "lr"


def log_lr(axes: Axes, lrs: list[float]) -> None:
    """A log axis of learning rates, with a mark at each that was tried."""
    axes.set_xscale("log")
    if len(lrs) <= MAX_TICKS:
        axes.set_xticks(lrs)
        axes.set_xticks([], minor=True)
    else:
        axes.set_xticks(lrs, minor=True)
        axes.tick_params(axis="x", which="minor", labelbottom=False)
    plain_numbers(axes.xaxis)
    axes.set_xlabel("learning rate")


class BetweenPowers(LogFormatter):
    """Labels for the ticks between powers of ten, where an axis is so short that it needs them."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return formatting.number(x) if super().__call__(x, pos) else ""


def plain_numbers(axis: Axis) -> None:
    """Tick labels as 0.01 and 10, not as powers."""
    axis.set_major_formatter(lambda value, _: formatting.number(value))
    if axis.get_scale() == "log":
        axis.set_minor_formatter(BetweenPowers())


def seeds(trials: pd.DataFrame) -> str:
    """How many seeds there are to see, for captions of figures in which nothing is tested."""
    n = trials.loc[trials["status"].isin(FINISHED), "seed"].nunique()
    few = "" if n > 1 else " (descriptive: nothing can be said of other seeds)"
    return f"n = {formatting.count(n, 'seed')}{few}; no test is made here, those of the claims stand above."


def chance(trials: pd.DataFrame) -> float:
    """The accuracy of guessing, NaN where no trial has a result."""
    classes = trials["classes"].dropna()
    return float(1 / classes.iloc[0]) if len(classes) else float("nan")


def counted(trials: pd.DataFrame, manifest: Manifest) -> str:
    """How many failed in each arm of those that ended, for captions."""
    parts = []
    for arm in pairing.arms(manifest):
        mine = trials[trials[manifest.compare] == arm]
        failed, ended = (int(mine["status"].isin(statuses).sum()) for statuses in (FAILED, FINISHED))
        parts.append(f"{formatting.value(arm)} {failed} of {ended}")
    return f"Failed to train: {formatting.listing(parts)}."


def setting(results: Results) -> str:
    """What is the same for all, for captions: model, data, init; and what intervals over seeds cover."""
    manifest = results.manifest
    said = [
        f"{name} {formatting.value(manifest.settings[name])}"
        for name in ("model", "dataset", "init", "optimizer")
        if manifest.settings.get(name) is not None
    ]
    return f"Setting: {', '.join(said)}. Intervals are over seeds, on one fixed split of the data."


def points_left_out(results: Results) -> int:
    """How many grid points have no pictures of their own."""
    without = ["lr"] if over_lr(results.manifest) else []
    return max(0, len(list(pairing.by_point(results.trials, pairing.axes(results.manifest, *without)))) - MAX_POINTS)


def points_of(results: Results, *without: str) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """The trials of each grid point but for some axes: a suffix for names, the point in words, the trials."""
    over = pairing.axes(results.manifest, *without)
    for number, (point, trials) in enumerate(pairing.by_point(results.trials, over)):
        if number == MAX_POINTS:
            return
        yield (f"_{number + 1}" if over else ""), formatting.point(point), trials
